"""Commands taken from the broker: how each is answered and acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.messages import Command
from shared.telemetry import UNFINISHED


@dataclass(slots=True)
class Item:
    """A decoded command with the delivery it came by; `missed` is when its session was first looked for in vain.

    One that was parked is `parked`, as the how manieth, and acknowledged; it waits until the loop's time `waits_until`.
    """

    delivery: Delivery
    command: Command
    missed: float | None = None
    parked: int = 0
    waits_until: float | None = None
    waits_for: str = ""

    @property
    def attempt(self) -> int:
        """How often this command has been tried before, 0 the first time."""
        attempt = self.delivery.headers.get("x-attempt", 0)
        return attempt if isinstance(attempt, int) else 0

    def names(self) -> dict[str, str | None]:
        """What a log line calls it."""
        return {
            "command": self.command.spec.name,
            "message_id": self.command.message_id,
            "session_id": self.command.session_id,
        }


class Acknowledger:
    """Acknowledges deliveries in one go up to the oldest that is not done; tags are those of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._done: set[int] = set()
        self._acknowledged = 0
        self._unfinished = 0

    def taken(self, count: int) -> None:
        """So many deliveries have come."""
        self._unfinished += count
        UNFINISHED.inc(count)

    def forget(self) -> None:
        """What is not finished is the broker's again."""
        UNFINISHED.dec(self._unfinished)
        self._unfinished = 0

    def done(self, tags: Sequence[int]) -> None:
        """These deliveries are finished with."""
        self._done.update(tags)
        last = self._acknowledged
        while last + 1 in self._done:
            last += 1
            self._done.remove(last)
        if last > self._acknowledged:
            finished = min(last - self._acknowledged, self._unfinished)
            self._unfinished -= finished
            UNFINISHED.dec(finished)
            self._acknowledged = last
            self._connection.ack(last, multiple=True)


def traceparents(items: Sequence[Item]) -> list[str]:
    """The trace contexts these commands came with."""
    return [item.command.traceparent for item in items if item.command.traceparent]
