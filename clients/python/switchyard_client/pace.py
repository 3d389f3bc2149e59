"""How fast frames may be sent: a gateway closes connections that send over 50 a second (200 at once)."""

import asyncio
import time

PER_SECOND = 45.0
AT_ONCE = 100.0


class Pace:
    """A token bucket; whoever finds it empty waits for its turn."""

    def __init__(self, per_second: float = PER_SECOND, at_once: float = AT_ONCE) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._left = at_once
        self._seen = time.monotonic()

    async def turn(self) -> None:
        """Wait until one more frame may be sent."""
        now = time.monotonic()
        self._left = min(self._at_once, self._left + (now - self._seen) * self._per_second) - 1
        self._seen = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self._per_second)
