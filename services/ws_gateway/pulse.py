"""The pings of one connection (RFC 6455 §5.5.2): each has a number, which its pong brings back. Free of I/O."""

import time

# Pings under way whose moment is remembered; a client answers the latest at least.
_REMEMBERED = 16


class Pulse:
    """Which pings are out, which was answered last, and how long that took.

    A pong answers every ping up to the one whose payload it brings. One with another payload is a sign of life, and
    no more than that.
    """

    __slots__ = ("_out", "answered", "ping_ms", "sent", "unanswered")

    def __init__(self) -> None:
        # The numbers of the last ping sent and the last one answered; the first is 1.
        self.sent = self.answered = 0
        # Beats since the last sign of life.
        self.unanswered = 0
        self.ping_ms: float | None = None
        # A list, since an empty deque is 600 bytes, and most connections never have two pings out.
        self._out: list[tuple[int, float]] = []

    def ping(self) -> bytes:
        """The frame of a new ping; `sent` is its number."""
        self.sent = number = (self.sent + 1) & 0xFFFFFFFF
        self._out.append((number, time.monotonic()))
        del self._out[:-_REMEMBERED]
        return b"\x89\x04" + number.to_bytes(4, "big")

    def pong(self, payload: bytes) -> bool:
        """Take a pong; whether it answers a ping not answered yet, the last such being `answered`."""
        self.unanswered = 0
        number = int.from_bytes(payload, "big") if len(payload) == 4 else 0
        while self._out and self._out[0][0] < number:
            del self._out[0]
        if not self._out or self._out[0][0] != number:
            return False
        self.answered = number
        self.ping_ms = (time.monotonic() - self._out.pop(0)[1]) * 1000
        return True
