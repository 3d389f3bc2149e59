"""A client's place in the pool: what it is at, and what it takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The SDK is an extra: without it there is a worker that says so.
    from services.claude_worker.client.live import LiveClient


@dataclass(slots=True, eq=False)
class Place:
    """A client in the pool, lent to whoever has asked for it first."""

    client: "LiveClient"
    # After so long without a message it is closed.
    idle_seconds: float
    is_busy: bool = True
    is_connecting: bool = True
    # Whoever has asked for it does not want it any more.
    is_interrupted: bool = False
    # The bytes it takes; None: not measured yet.
    measured: int | None = None

    def weight(self, typical: int) -> int:
        """The bytes it counts for: while it answers, and may grow, at least what others take (`typical`)."""
        if self.measured is None:
            return typical
        return max(self.measured, typical) if self.is_busy else self.measured

    def status(self, now: float) -> dict[str, Any]:
        """What it is at, by a monotonic clock that shows `now`."""
        return {
            "busy": self.is_busy,
            "connecting": self.is_connecting,
            "idle_s": 0.0 if self.is_busy else round(now - self.client.used_at, 1),
            "memory_mb": None if self.measured is None else round(self.measured / 2**20, 1),
        }
