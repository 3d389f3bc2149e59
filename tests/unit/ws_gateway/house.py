"""A gateway with nothing behind it but a list of older events, and its clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from prometheus_client import CollectorRegistry

from services.ws_gateway.client import Client
from services.ws_gateway.door.access import Limits
from services.ws_gateway.door.doors import Doors
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.history.pages import Pages
from services.ws_gateway.history.resume import Library
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.stream.intake import Epoch, Intake
from services.ws_gateway.stream.ring import Ring
from shared.auth import sign
from shared.bus.tail import StreamEvent
from shared.errors import Unavailable
from shared.key_ring import KeyRing
from tests.unit.ws_gateway.wire import texts
from tests.waiting import eventually_async

SECRET = "s" * 32


class Socket:
    """A socket that remembers what was done to it."""

    def __init__(self) -> None:
        self.address = "1.2.3.4"
        self.written = b""
        self.closed: tuple[int, str] | None = None
        self.held = False
        self.in_buffer = 0

    def write(self, data: bytes) -> None:
        assert self.closed is None
        self.written += data

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def buffered(self) -> int:
        return self.in_buffer

    def hold(self, *, held: bool) -> None:
        self.held = held

    def read(self) -> list[Any]:
        """What has been written since the last look."""
        data, self.written = self.written, b""
        return texts(data)


class FakeCommands:
    def __init__(self) -> None:
        self.answer: tuple[bytes, bool] = (b"\x81\x02{}", True)
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.ran: list[str] = []

    async def run(self, identity: Any, request: Any, text: bytes, *, address: str) -> tuple[bytes, bool]:
        self.ran.append(request.message_id)
        await self.go_on.wait()
        return self.answer


class House:
    """A gateway with nothing behind it but a list of older events."""

    def __init__(self, ring: int = 1000, doors: Doors | None = None) -> None:
        self.hub = Hub(Ring(ring, 10**7))
        metrics = Metrics(self.hub, CollectorRegistry())
        self.intake = Intake(self.hub, metrics)
        self.intake.begin(Epoch("e1", 1), 0)
        self.stored: list[StreamEvent] = []
        self.broken = False
        # How often the log was asked how far it goes.
        self.looks = 0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.commands = FakeCommands()
        self.keys = KeyRing(None)
        self.gateway = Gateway(
            secret=SECRET,
            origins=frozenset(),
            limits=Limits(),
            hub=self.hub,
            intake=self.intake,
            library=Library(self.hub, Pages(self.hub, self.intake, self._read, self._query, self._newest), metrics),
            commands=self.commands,  # type: ignore[arg-type]
            ring=self.keys,
            metrics=metrics,
            call_later=self._call_later,
            doors=doors,
        )

    def _call_later(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        self.later.append((seconds, act))
        return asyncio.get_running_loop().call_later(10**6, act)

    async def _read(self, after: int, until: int) -> AsyncIterator[list[StreamEvent]]:
        if self.broken:
            raise Unavailable("the broker is away")
        yield [stored for stored in self.stored if after < stored.offset <= until]

    async def _newest(self) -> int:
        self.looks += 1
        if self.broken:
            raise Unavailable("the broker is away")
        return len(self.stored) - 1

    async def _query(self, name: str, data: dict[str, Any]) -> bytes:
        raise Unavailable("the broker is away")

    def publish(self, *routing_keys: str) -> None:
        for routing_key in routing_keys:
            self.publish_body(routing_key, {})

    def publish_body(self, routing_key: str, body: dict[str, Any]) -> None:
        """An event with fields of its own."""
        offset = len(self.stored)
        text = json.dumps({"type": "test", "message_id": f"m{offset}", **body}).encode()
        self.stored.append(StreamEvent(offset, routing_key, text, f"m{offset}"))
        self.intake.take(self.stored[-1:])

    def enter(self, token: str | None = None) -> "Visitor":
        socket = Socket()
        client = self.gateway.connect(socket)
        client.entrance.open(token)
        return Visitor(self, client, socket)

    def come(self, agent_id: str = "ana", kind: str = "agent", permission: str = "active", **more: Any) -> "Visitor":
        """A client that has been let in."""
        visitor = self.enter(token(agent_id, kind, permission, **more))
        assert visitor.socket.read()[0]["type"] == "connected"
        return visitor


class Visitor:
    def __init__(self, house: House, client: Client, socket: Socket) -> None:
        self.house, self.client, self.socket = house, client, socket

    def say(self, kind: str, **fields: Any) -> list[Any]:
        self.client.answers.said(json.dumps({"type": kind, **fields}).encode())
        return self.socket.read()

    def error(self, kind: str, **fields: Any) -> str:
        (answer,) = self.say(kind, **fields)
        assert answer["type"] == "error"
        return str(answer["code"])

    async def hear(self, count: int) -> list[Any]:
        heard: list[Any] = []

        async def enough() -> bool:
            heard.extend(self.socket.read())
            return len(heard) >= count

        await eventually_async(enough, 5, because=f"{count} frames")
        return heard


def token(
    agent_id: str = "ana", kind: str = "agent", permission: str = "active", *, ttl_s: float = 60, **more: Any
) -> str:
    return sign(SECRET, "ws", {"sub": agent_id, "kind": kind, "permission": permission, **more}, ttl_s=ttl_s)
