"""A client's end for tests without sockets: what was written, read back as frames."""

import json
from typing import Any

from services.ws_gateway.fanout.backlog import Backlog
from services.ws_gateway.fanout.hub import Connection, Hub
from services.ws_gateway.stream.frames import Frame, event_frame


def payloads(data: bytes) -> list[tuple[int, bytes]]:
    """The (opcode, payload) of every frame in bytes that hold whole frames."""
    found = []
    at = 0
    while at < len(data):
        size, skip = data[at + 1] & 127, 2
        if size >= 126:
            skip = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + skip], "big")
        assert len(data) >= at + skip + size, "a frame was cut"
        found.append((data[at] & 15, data[at + skip : at + skip + size]))
        at += skip + size
    return found


def texts(data: bytes) -> list[Any]:
    """The JSON of every text frame."""
    return [json.loads(payload) for opcode, payload in payloads(data) if opcode == 1]


def event(
    cursor: int, routing_key: str = "a.b", priority: str = "normal", size: int = 0, message_id: str = ""
) -> Frame:
    """An event as the log would hold it."""
    body = {"type": "test", "message_id": message_id or f"m{cursor}", "priority": priority, "text": "x" * size}
    return event_frame(cursor, routing_key, json.dumps(body).encode())


class Wire:
    """A socket that takes `room` bytes, and then none until `drain` is called."""

    def __init__(self, hub: Hub, room: int | None = None, max_waiting: int = 50) -> None:
        self.hub = hub
        self.room = room
        self.written = b""
        self.closed: tuple[int, str] | None = None
        self.connection = Connection(self._write, self._close, Backlog(max_waiting))

    def _write(self, data: bytes) -> None:
        assert self.closed is None, "written after the close"
        self.written += data
        if self.room is not None:
            self.room -= len(data)
            if self.room <= 0:
                self.hub.pause(self.connection)

    def _close(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def drain(self, room: int | None = None) -> None:
        """The client has read all; the socket takes `room` more."""
        self.room = room
        self.hub.resume(self.connection)

    def frames(self) -> list[Any]:
        """Everything written so far."""
        return texts(self.written)

    def cursors(self) -> list[int]:
        """The cursors of the events written so far."""
        return [frame["cursor"] for frame in self.frames() if frame["type"] == "test"]

    def gaps(self) -> list[tuple[int, int, str]]:
        """The gaps told so far."""
        return [(gap["from"], gap["to"], gap["reason"]) for gap in self.frames() if gap["type"] == "gap"]
