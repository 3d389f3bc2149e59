"""The doors without server and broker: everything else is real, and what is kept lies in the spool."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from services.ingress.access import Access
from services.ingress.api import make_api
from services.ingress.bodies import BodyReader
from services.ingress.chat_doors import ChatDoors
from services.ingress.commands import CommandDoor
from services.ingress.diversion import Diversion
from services.ingress.front import Front
from services.ingress.hooks import HookDoor
from services.ingress.intake import Intake
from services.ingress.mcp import McpDoor
from services.ingress.metrics import Metrics
from services.ingress.sources import bot_names, load
from services.ingress.spool import Spool
from services.ingress.webhooks import WebhookDoor
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.key_ring import KeyRing
from shared.targets import Allowed

KEY = "unit-test-key-0123456789"
SECRET = "unit-test-secret-0123456789-0123456789"
GITHUB_SECRET = "github-secret"
SOURCES = """
[sources.billing]
scheme = "standard"
secrets = ["whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3", "whsec_b2xkb2xkb2xkb2xkb2xkb2xkb2xk"]

[sources.helper]
scheme = "campfire"
secret = "campfire-token"

[sources.builds]
scheme = "hmac"
secret = "builds-secret"
prefix = "sha256="

[sources.few]
scheme = "github"
secret = "few-secret"
events = ["push", "issues.opened"]

[sources.sensors]
scheme = "api_key"
secret = "sensor-secret"

[sources.bender]
scheme = "campfire"
secret = "campfire-token"
url = "https://campfire.example.com/"

[sources.nowhere]
scheme = "campfire"
secret = "campfire-token"
bot = "bender"
room_prefix = "other-"

[sources.said]
scheme = "api_key"
secret = "said-secret"
chat = "bender"

[sources.said_to]
scheme = "standard"
secret = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3"
chat = "*"

[bots.bender]
name = "Bender Bot"

[bots.ada]
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop the services run on."""
    return ("asyncio", {"use_uvloop": True})


@dataclass
class Got:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class Doors:
    """The ingress without its server."""

    def __init__(self, front: Front, spool: Spool, keys: KeyRing) -> None:
        self.front = front
        self.spool = spool
        self.keys = keys

    async def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        *,
        query: str = "",
        pieces: list[bytes] | None = None,
    ) -> Got:
        """One request; with `pieces` its body comes bit by bit, without a content length."""
        given = list(headers.items()) if isinstance(headers, dict) else headers or []
        if pieces is None and body:
            given = [*given, ("content-length", str(len(body)))]
        left = list(pieces) if pieces is not None else [body]
        answer: dict[str, Any] = {"body": b""}

        async def receive() -> dict[str, Any]:
            if not left:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.update(status=message["status"], headers=message["headers"])
            else:
                answer["body"] += message.get("body", b"")

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 1),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given],
            "state": {},
        }
        await self.front(scope, receive, send)
        return Got(answer["status"], {k.decode(): v.decode() for k, v in answer["headers"]}, answer["body"])

    async def post(self, path: str, body: bytes = b"", headers: Any = None, **more: Any) -> Got:
        return await self.send("POST", path, body, headers, **more)

    async def command(self, name: str, data: bytes = b"{}", **headers: str) -> Got:
        """A command with the key; `Prefer_` stands for `Prefer-` in header names."""
        given = {"x-api-key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.post(f"/api/commands/{name}", data, given)

    async def kept(self) -> list[dict[str, Any]]:
        """The messages that were kept so far, in order."""
        rows = await self.spool.head(0, rows=10_000, size=1 << 40)
        return [orjson.loads(row.message.body) for row in rows]

    async def kept_texts(self) -> list[bytes]:
        """Their bytes."""
        return [row.message.body for row in await self.spool.head(0, rows=10_000, size=1 << 40)]


@pytest.fixture
async def make_doors(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Makes doors, with how much their spool may hold."""
    spools: list[Spool] = []
    running: list[asyncio.Task[None]] = []

    async def make(max_bytes: int = 1 << 30) -> Doors:
        toml = tmp_path / "switchyard.toml"
        toml.write_text(SOURCES)
        publisher = Publisher("amqp://127.0.0.1:1", name="unit")
        spool = Spool(tmp_path / "spool", max_bytes)
        await spool.open()
        spools.append(spool)
        intake = Intake(publisher, Rpc(publisher), spool, Diversion(publisher, spool))
        keys = KeyRing(KEY)
        access = Access(keys, SECRET, tmp_path / "spool")
        bodies = BodyReader()
        commands = CommandDoor(access, intake, bodies)
        sources = load(toml, {"GITHUB_WEBHOOK_SECRET": GITHUB_SECRET})
        chats = ChatDoors(bot_names(toml), SECRET, Allowed())
        chats.warn(sources)
        webhooks = WebhookDoor(sources, access, intake, commands, bodies, chats)

        @cache
        def api() -> FastAPI:
            return make_api(commands, access, bodies, gateway_url="ws://127.0.0.1:8001/ws", version="1.2.3")

        async def api_when_asked(scope: Scope, receive: Receive, send: Send) -> None:
            """Made by the first request that gets there: it takes 40 ms, and most tests are of the other doors."""
            await api()(scope, receive, send)

        mcp = McpDoor(access, commands, bodies, origins=["https://switchyard.example"], version="1.2.3")
        running.append(asyncio.create_task(mcp.run()))
        hooks = HookDoor(access, intake, bodies)
        return Doors(Front(api_when_asked, webhooks, commands, hooks, mcp, Metrics(dict)), spool, keys)

    yield make
    for task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for spool in spools:
        await spool.close()


@pytest.fixture
async def doors(make_doors: Callable[..., Any]) -> Doors:
    """The doors as most tests want them."""
    made: Doors = await make_doors()
    return made
