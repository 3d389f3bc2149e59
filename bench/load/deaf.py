"""WebSocket clients that do not read, until they are asked what they were told."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.load.ws_sink import frames, join

# So little that what is not read stays with the server.
RECEIVE_BUFFER = 4096


@dataclass
class Told:
    """What one of them had waiting: the cursors of its events, and the gaps (first and last cursor, reason)."""

    events: set[int] = field(default_factory=set)
    gaps: list[tuple[int, int, str]] = field(default_factory=list)

    def untold(self, cursors: set[int]) -> set[int]:
        """Which of these events neither came nor lie in a gap."""
        missing = cursors - self.events
        return {cursor for cursor in missing if not any(first <= cursor <= last for first, last, _ in self.gaps)}


class _Ear:
    """One client; what it has read and not looked at yet is kept."""

    def __init__(self, port: int, headers: str, subscribe: str) -> None:
        self.socket, self._data = join("127.0.0.1", port, "/ws", headers, subscribe, receive_buffer=RECEIVE_BUFFER)
        self.socket.settimeout(30)
        self._read: deque[tuple[int, bytes]] = deque()

    def next(self) -> dict[str, Any]:
        """The next frame of text; raises ConnectionError when the server has closed."""
        while True:
            self._read += frames(self._data)
            while self._read:
                opcode, payload = self._read.popleft()
                if opcode == 8:
                    raise ConnectionError(f"closed by the server: {payload!r}")
                if opcode == 1:
                    frame: dict[str, Any] = json.loads(payload)
                    return frame
            if not (got := self.socket.recv(1 << 20)):
                raise ConnectionError("the server hung up")
            self._data += got

    def told(self, last: str) -> Told:
        told, kind = Told(), ""
        while kind != last:
            frame = self.next()
            kind = frame["type"]
            if kind == "gap":
                told.gaps.append((frame["from"], frame["to"], frame["reason"]))
            elif "cursor" in frame:
                told.events.add(frame["cursor"])
        return told


class Deaf:
    """So many of them, connected."""

    def __init__(self, port: int, headers: Sequence[str], subscribe: str) -> None:
        """One for each of these lines of handshake headers; each asks for `subscribe` and reads the answer."""
        self._ears: list[_Ear] = []
        try:
            for line in headers:
                self._ears.append(_Ear(port, line, subscribe))
                while self._ears[-1].next()["type"] != "subscribed":
                    pass
        except BaseException:
            self.close()
            raise

    def read(self, last: str) -> list[Told]:
        """Let each read up to an event of this type, one after the other."""
        return [ear.told(last) for ear in self._ears]

    def close(self) -> None:
        """Hang up."""
        for ear in self._ears:
            ear.socket.close()
        self._ears.clear()
