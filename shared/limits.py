"""The rate limit of a door: a token bucket, in this process's memory."""

import time


class Bucket:
    """A token bucket: `rate` a second on average, `burst` at once."""

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float | None = None) -> None:
        self.rate = rate
        self.burst = self._left = burst
        self._at = time.monotonic() if now is None else now

    def take(self, now: float | None = None, *, count: float = 1) -> bool:
        """Take one, or `count`; false, and nothing taken, when there are not as many left."""
        now = time.monotonic() if now is None else now
        self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True

    @property
    def wait_s(self) -> float:
        """How many seconds after the last look the next one is there."""
        return max(0.0, (1 - self._left) / self.rate)
