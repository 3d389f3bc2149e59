"""WebSocket clients that do not read, until they are asked what they were told."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

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


class Deaf:
    """So many of them, connected."""

    def __init__(self, port: int, headers: Sequence[str], subscribe: str) -> None:
        """One for each of these lines of handshake headers; each asks for `subscribe` and reads the answer."""
        self._clients: list[tuple[socket.socket, bytearray]] = []
        try:
            for line in headers:
                client, data = join("127.0.0.1", port, "/ws", line, subscribe, receive_buffer=RECEIVE_BUFFER)
                client.setblocking(True)
                client.settimeout(30)
                self._clients.append((client, data))
                while not any(b'"type":"subscribed"' in payload[:40] for _, payload in _read(client, data)):
                    pass
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._clients)

    def read(self, until: int) -> list[Told]:
        """Let each read up to the event with this cursor, one after the other."""
        return [_told(client, data, until) for client, data in self._clients]

    def close(self) -> None:
        """Hang up."""
        for client, _ in self._clients:
            client.close()
        self._clients.clear()


def _read(client: socket.socket, data: bytearray) -> list[tuple[int, bytes]]:
    """The next frames, at least one."""
    while not (taken := frames(data)):
        if not (got := client.recv(1 << 20)):
            raise ConnectionError("the server hung up")
        data += got
    return taken


def _told(client: socket.socket, data: bytearray, until: int) -> Told:
    told = Told()
    while until not in told.events:
        for opcode, payload in _read(client, data):
            if opcode == 8:
                raise ConnectionError(f"closed by the server: {payload!r}")
            frame = json.loads(payload) if opcode == 1 else {}
            if frame.get("type") == "gap":
                told.gaps.append((frame["from"], frame["to"], frame["reason"]))
            elif "cursor" in frame and frame["type"] != "subscribed":
                told.events.add(frame["cursor"])
    return told
