"""WebSocket clients that come all at once, each asking for something of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from bench.load.events import MARK
from bench.load.ws_sink import frames, masked


@dataclass(frozen=True)
class Comer:
    """The lines of its handshake's headers, joined by `|`, and the frame it then sends."""

    headers: str
    asks: dict[str, Any]


class _Client(asyncio.Protocol):
    """Done with the answer to its frame and the moment when so many events had come."""

    def __init__(self, comer: Comer, events: int) -> None:
        self.done: asyncio.Future[tuple[dict[str, Any], float]] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._comer = comer
        self._due = events
        self._answer: dict[str, Any] | None = None
        self._data = bytearray()
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        more = "".join(f"{header}\r\n" for header in self._comer.headers.split("|"))
        self.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n" % more.encode()
        )

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._is_open:
            if (end := self._data.find(b"\r\n\r\n")) < 0:
                return
            if not self._data.startswith(b"HTTP/1.1 101"):
                self._fail(f"handshake refused: {bytes(self._data[:200])!r}")
                return
            del self._data[: end + 4]
            self._is_open = True
            self.transport.write(masked(1, json.dumps(self._comer.asks).encode()))
        for opcode, payload in frames(self._data):
            self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self.transport.write(masked(10, payload))
        elif opcode == 8 or payload.startswith((b'{"type":"error"', b'{"type":"gap"')):
            self._fail(f"answered {payload!r}")
        elif MARK in payload:
            self._due -= 1
        elif payload.startswith(b'{"type":"subscribed"'):
            self._answer = json.loads(payload)
        if self._due <= 0 and self._answer is not None and not self.done.done():
            self.done.set_result((self._answer, time.monotonic()))

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"a client was {why}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("hung up on")


@dataclass(frozen=True)
class Came:
    """What each was answered, and how many seconds it took until the last of them had everything."""

    answers: list[dict[str, Any]]
    seconds: float
    # Still connected.
    transports: list[asyncio.Transport]

    def leave(self) -> None:
        """Hang up."""
        for transport in self.transports:
            transport.abort()


async def come(port: int, comers: Sequence[Comer], events: int, patience: float = 60.0) -> Came:
    """Connect all of them at once; each waits for its answer and for so many events.

    Raises RuntimeError when one is refused or told of a gap, TimeoutError when that takes too long.
    """
    loop = asyncio.get_running_loop()
    clients: list[_Client] = []

    async def one(comer: Comer) -> tuple[dict[str, Any], float]:
        _, client = await loop.create_connection(lambda: _Client(comer, events), "127.0.0.1", port)
        clients.append(client)
        return await client.done

    began = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            done = await asyncio.gather(*map(one, comers))
    except BaseException:
        for client in clients:
            client.transport.abort()
        raise
    return Came(
        [answer for answer, _ in done], max(at for _, at in done) - began, [client.transport for client in clients]
    )
