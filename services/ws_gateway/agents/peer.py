"""Another gateway, as far as it was heard of. Free of I/O."""

from typing import Any

from services.ws_gateway.agents.bulletins import Full


class Peer:
    """One incarnation of another gateway. Times are of a clock that never goes back."""

    __slots__ = (
        "_parts",
        "about",
        "applied",
        "asked_at",
        "first_heard",
        "heard",
        "incarnation",
        "may_tell",
        "pardoned",
    )

    def __init__(self, incarnation: int, now: float) -> None:
        self.incarnation = incarnation
        # Its silence counts from when it was heard last, or from a moment until which it may have had no choice.
        self.first_heard = self.heard = self.pardoned = now
        self.may_tell = False
        # The version of its seats that is known here; None before the first whole one.
        self.applied: int | None = None
        # When it was asked for all its seats, while they are still to come.
        self.asked_at: float | None = None
        # What the status display shows of it.
        self.about: dict[str, Any] = {}
        self._parts: dict[int, Full] = {}

    def is_silent(self, now: float, seconds: float) -> bool:
        """Whether nothing has come from it for so long, by its own fault."""
        return now - max(self.heard, self.pardoned) > seconds

    def miss(self) -> None:
        """Something it said did not arrive: it is to be asked for all its seats."""
        if self.asked_at is None:
            self.asked_at = float("-inf")

    def collect(self, full: Full) -> list[Full]:
        """Take a part of all its seats; with the last one, returns them all, in order."""
        if self.applied is not None and full.version < self.applied:
            return []
        if self._parts and next(iter(self._parts.values())).version != full.version:
            self._parts.clear()
        self._parts[full.part] = full
        if len(self._parts) < full.parts:
            return []
        self.applied, self.asked_at = full.version, None
        return [self._parts.pop(part) for part in sorted(self._parts)]
