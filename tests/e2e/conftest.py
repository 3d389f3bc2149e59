"""What a program outside sees: HTTP and WebSocket, nothing else."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from cli.local.environment import ROOT
from cli.local.postgres import Postgres
from cli.local.rabbitmq import RabbitMQ
from cli.local.stack import Stack
from standins.messages_api import MessagesAPI
from tests.conftest import copy_of, running_stack, vhost_of

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"

# Beside the bots that come with the project: one with tools.
BOTS = """
[bots.clerk]
system_prompt = "You are a test."
allowed_tools = ["store_memory"]
ask_tools = ["chat_stats"]
approvers = ["Grace"]
idle_minutes = 0.05
"""


class Doors:
    """A running Switchyard as its users reach it."""

    def __init__(self, stack: Stack) -> None:
        self.gateway_url = f"ws://127.0.0.1:{stack.environment.get('SWITCHYARD_GATEWAY_PORT')}/ws"
        self._github_secret = stack.environment.get("GITHUB_WEBHOOK_SECRET").encode()
        self.http = httpx.Client(
            base_url=stack.api_url, headers={"X-API-Key": stack.environment.get("SWITCHYARD_API_KEY")}, timeout=30
        )

    def command(self, name: str, /, **data: Any) -> dict[str, Any]:
        """Run a command and return its result; a refusal fails the test with the problem's text."""
        answer = self.http.post(f"/api/commands/{name}", json=data)
        assert answer.status_code in (200, 201), answer.text
        result: dict[str, Any] = answer.json()
        return result

    def session(self) -> str:
        """The id of a fresh session."""
        session_id: str = self.command("create_session", title="e2e")["session"]["session_id"]
        return session_id

    def github(
        self, event: str, body: bytes, *, delivery: str | None = None, signature: str | None = None
    ) -> httpx.Response:
        """Send a webhook as GitHub does."""
        seal = hmac.new(self._github_secret, body, hashlib.sha256).hexdigest()
        return self.http.post(
            "/webhook",
            content=body,
            headers={
                "Content-Type": "application/json",
                "X-GitHub-Event": event,
                "X-GitHub-Delivery": delivery or str(uuid4()),
                "X-Hub-Signature-256": signature or f"sha256={seal}",
            },
        )

    def token(self, **claims: Any) -> str:
        """A WebSocket token for an agent of its own."""
        answer = self.http.post("/api/tokens", json={"agent_id": f"e2e-{uuid4().hex[:8]}", **claims})
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    @contextmanager
    def listen(self, *topics: str, since: int | str | None = None) -> Iterator["Listener"]:
        """A WebSocket subscribed to these topics."""
        with connect(
            self.gateway_url,
            subprotocols=["switchyard.v1"],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Bearer {self.token()}"},
            max_size=None,
        ) as socket:
            listener = Listener(socket)
            listener.subscribe(*topics, since=since)
            yield listener


class Listener:
    """The frames of one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.connected = self.next()
        assert self.connected["type"] == "connected", self.connected

    def subscribe(self, *topics: str, since: int | str | None = None) -> None:
        """Subscribe and wait for the answer, kept in `subscribed`."""
        frame = {"type": "subscribe", "topics": list(topics)} | ({} if since is None else {"since": since})
        self.socket.send(json.dumps(frame))
        self.subscribed = self.next()
        assert self.subscribed["type"] == "subscribed", self.subscribed

    def next(self, deadline: float = 10) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=deadline))
        return frame

    def quiet(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        try:
            self.socket.recv(timeout=seconds)
        except TimeoutError:
            return True
        return False


@pytest.fixture(scope="package")
def stack(
    postgres: Postgres,
    template: str,
    rabbitmq: RabbitMQ,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Stack]:
    """Every service, started once for all of these tests, which therefore name sessions and keys of their own.

    It may call back to 127.0.0.1; its bots ask a stand-in of the Messages API.
    """
    config = tmp_path_factory.mktemp("config") / "switchyard.toml"
    config.write_text((ROOT / "switchyard.toml").read_text() + BOTS)
    with MessagesAPI() as api:
        settings = {
            "SWITCHYARD_CONFIG": str(config),
            "SWITCHYARD_CALLBACK_ALLOW": "127.0.0.1",
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": "sk-stand-in",
        }
        for database_url in copy_of(postgres, template):
            for amqp_url in vhost_of(rabbitmq):
                yield from running_stack(database_url, amqp_url, tmp_path_factory, request, **settings)


@pytest.fixture
def doors(stack: Stack) -> Iterator[Doors]:
    """The doors of the stack."""
    doors = Doors(stack)
    yield doors
    doors.http.close()


@pytest.fixture
def github_fixtures() -> Path:
    """Real payloads, kept beside the checkout."""
    folder = FIXTURES / "github"
    if not folder.is_dir():
        pytest.skip("the real GitHub payloads are not beside this checkout (../shared/fixtures/github)")
    return folder
