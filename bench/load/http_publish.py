"""Publishing over HTTP with many requests in flight on one connection, so the publisher never holds up the server."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Pipeline(asyncio.Protocol):
    """One keep-alive connection with pipelined POSTs; answers are matched in order."""

    def __init__(self, head: Callable[[bytes], bytes]) -> None:
        self.head = head
        self.data = bytearray()
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()  # answers still due, who waits for them

    @classmethod
    async def open(cls, port: int, path: str, headers: Mapping[str, str] | None = None) -> Pipeline:
        """Connect to a server on the loopback interface."""
        lines = {"Host": f"127.0.0.1:{port}", **(headers or {})}
        fixed = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())

        def head(body: bytes) -> bytes:
            return b"%sContent-Length: %d\r\n\r\n" % (fixed.encode(), len(body))

        _, protocol = await asyncio.get_running_loop().create_connection(lambda: cls(head), "127.0.0.1", port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    async def publish(self, bodies: list[bytes]) -> None:
        """POST every body in one write, and wait until each is answered with a 2xx."""
        done = asyncio.get_running_loop().create_future()
        self.waiting.append((len(bodies), done))
        self.transport.write(b"".join(self.head(body) + body for body in bodies))
        await done

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.data, 0, end + 2)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.data) < size:
                return
            status = bytes(self.data[9:12])
            del self.data[:size]
            self._answered(status)

    def _answered(self, status: bytes) -> None:
        due, done = self.waiting[0]
        if not status.startswith(b"2") and not done.done():
            done.set_exception(RuntimeError(f"the publisher was answered {status.decode()}"))
        if due > 1:
            self.waiting[0] = (due - 1, done)
            return
        self.waiting.popleft()
        if not done.done():
            done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for _, done in self.waiting:
            if not done.done():
                done.set_exception(ConnectionError("the server hung up"))

    def close(self) -> None:
        self.transport.close()
