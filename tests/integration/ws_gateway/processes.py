"""A gateway and a session worker as processes, and what tests need to talk to them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from cli.local.ports import free_port
from shared.auth import sign
from shared.bus.publisher import Publisher
from shared.bus.topology import EVENTS
from shared.messages import JsonText, encode, new_id
from shared.messages.session import LlmConversationInsight
from tests.waiting import eventually

SECRET = "a secret of these tests, long enough"
ORIGIN = "http://dashboard.example"
API_KEY = "the bootstrap key of these tests"


class Process:
    """A service as it really runs."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self._environment = {**os.environ, "SWITCHYARD_LOG_FORMAT": "json", **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", f"services.{self.name}"], env=self._environment)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 20) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self._process.kill()
            self._process.wait()


class GatewayProcess(Process):
    """A gateway on a port of its own."""

    def __init__(self, amqp_url: str, **settings: str) -> None:
        self.port = free_port()
        super().__init__(
            "ws_gateway",
            {
                "AMQP_URL": amqp_url,
                "SWITCHYARD_SECRET": SECRET,
                "SWITCHYARD_API_KEY": API_KEY,
                "SWITCHYARD_GATEWAY_PORT": str(self.port),
                "SWITCHYARD_ALLOWED_ORIGINS": ORIGIN,
                **settings,
            },
        )

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def start(self, *, ready: bool = True) -> None:  # type: ignore[override]
        super().start()
        path = "/health/ready" if ready else "/health/live"
        eventually(lambda: self.get(path)[0] == 200, 40, because=f"the gateway answers {path}")

    def memory(self) -> float:
        """Its resident memory in bytes."""
        return self._value("process_resident_memory_bytes")

    def metric(self, name: str, **labels: str) -> float:
        """The value of one of its metrics, 0 when it has none."""
        wanted = f"switchyard_gateway_{name}"
        if labels:
            wanted += "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
        return self._value(wanted)

    def _value(self, wanted: str) -> float:
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(f"{wanted} "):
                return float(line.split()[-1])
        return 0.0


def session_worker(amqp_url: str, database_url: str) -> Process:
    """The worker that answers what the gateway asks."""
    return Process(
        "session_worker",
        {"AMQP_URL": amqp_url, "DATABASE_URL": database_url, "SWITCHYARD_WORKERS_PORT": str(free_port(range(4)))},
    )


def token(agent_id: str | None = None, *, kind: str = "agent", permission: str = "active", **more: Any) -> str:
    """A token; of an agent nobody has heard of unless named."""
    ttl_s = more.pop("ttl_s", 300)
    claims = {"sub": agent_id or f"agent-{new_id()}", "kind": kind, "permission": permission, **more}
    return sign(SECRET, "ws", claims, ttl_s=ttl_s)


class Client:
    """A connection by the `websockets` library, as a user would have one."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def receive(self, seconds: float = 20) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        return frame

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a frame and return the first one that is not an event."""
        await self.send(kind, **fields)
        while True:
            frame = await self.receive()
            if "cursor" not in frame or frame["type"] in ("subscribed", "connected"):
                return frame

    async def events(self, count: int, seconds: float = 30) -> list[dict[str, Any]]:
        """The next events."""
        return [await self.receive(seconds) for _ in range(count)]

    async def close_code(self) -> int:
        """Read until the server closes; its code."""
        with suppress(ConnectionClosed):
            async with asyncio.timeout(30):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def connected(gateway: GatewayProcess, shown: str | None = None, **options: Any):
    """A client that has been let in and has read its first frame; `hello` holds that."""
    headers = {"Authorization": f"Bearer {shown or token()}"}
    async with connect(gateway.url, additional_headers=headers, compression=None, **options) as socket:
        client = Client(socket)
        client.hello = await client.receive()  # type: ignore[attr-defined]
        yield client


def insight(number: int, *, size: int = 10, priority: str = "normal") -> LlmConversationInsight:
    """An event with a number to know it by."""
    text = JsonText(encode({"number": number, "text": "x" * size}))
    return LlmConversationInsight(session_id="s1", sender_agent_id="tests", priority=priority, insight=text)


class Source:
    """Publishes events as a worker would."""

    def __init__(self, amqp_url: str) -> None:
        self._publisher = Publisher(amqp_url, name="tests")
        self._running: asyncio.Task[None] | None = None
        self.numbers = 0

    async def __aenter__(self) -> "Source":
        self._running = asyncio.ensure_future(self._publisher.run())
        async with asyncio.timeout(20):
            await self._publisher.wait_connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def publish(self, count: int = 1, *, topic: str = "session.s1.insight", **more: Any) -> list[int]:
        """Publish numbered events; returns their numbers once all are confirmed."""
        numbers = list(range(self.numbers, self.numbers + count))
        self.numbers += count
        await self.send(topic, *[insight(number, **more).encoded() for number in numbers])
        return numbers

    async def send(self, topic: str, *bodies: bytes) -> None:
        for start in range(0, len(bodies), 500):
            some = bodies[start : start + 500]
            await asyncio.gather(*(self._publisher.send(EVENTS, topic, body, message_id=new_id()) for body in some))


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """The numbers of events, in the order they came."""
    return [event["insight"]["number"] for event in events]
