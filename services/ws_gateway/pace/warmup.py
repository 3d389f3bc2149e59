"""The warm-up of a new connection: it begins with little, and gets more of it by and by. Free of I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.ws_gateway.stream.frames import Frame

# What each stage adds to the one before, and how many seconds it lasts; the last one is everything.
PRESENCE, TEAMWORK, EVERYTHING = range(1, 4)
STAGE_SECONDS = (10.0, 20.0, 30.0)
_PRESENCE_TYPES = frozenset({"agent_presence", "agent_registered", "agent_spawned", "agent_completed"})


def stage_of(frame: Frame) -> int:
    """From which stage on an event is given."""
    kind, area = frame.type, frame.routing_key.partition(".")[0]
    if area == "system" or kind in _PRESENCE_TYPES or kind.startswith("session_"):
        return PRESENCE
    return TEAMWORK if area in ("sidebar", "memory") else EVERYTHING


@dataclass(slots=True)
class Warmup:
    """Which stage a connection is in, and until when."""

    until: float
    seconds: Sequence[float] = STAGE_SECONDS
    stage: int = PRESENCE

    @classmethod
    def begin(cls, now: float, seconds: Sequence[float] = STAGE_SECONDS) -> "Warmup":
        """The first stage, from now on."""
        return cls(now + seconds[0], seconds)

    def go_on(self, now: float) -> bool:
        """Move on when a stage is over; whether that was so."""
        if now < self.until or self.is_over:
            return False
        self.until += self.seconds[self.stage]
        self.stage += 1
        return True

    @property
    def is_over(self) -> bool:
        """Whether everything is given."""
        return self.stage >= EVERYTHING

    def holds(self, frame: Frame) -> bool:
        """Whether an event's stage is still to come."""
        return stage_of(frame) > self.stage
