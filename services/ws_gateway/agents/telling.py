"""What others were told of each agent, what is so, and which differences are due to be told. Free of I/O.

What was told is what the event log says, so every gateway agrees on it. An event's id follows from the last one told
and from what it says: two gateways that both tell a difference publish one event and a copy of it.
"""

import heapq
import uuid
from collections import OrderedDict
from typing import Literal

from services.ws_gateway.agents.roster import State

# What an agent changes within this time is told together.
DEBOUNCE_SECONDS = 0.5
# An event that has not come back from the log after this is published again.
RETRY_SECONDS = 3.0
# Agents that were told offline whose last event is remembered.
REMEMBERED_AGENTS = 10_000

_PRESENCE = uuid.UUID("7f1c8f0e-3f0b-5d3c-9b0e-0d6a6b1f4c55")

Cause = Literal["come", "change", "gone"]


class _Tale:
    """One agent: what is so (None: not connected), what was told last (None: offline), and when the rest is due."""

    __slots__ = ("actual", "cause", "due", "first_id", "sent_at", "specialties", "told", "told_by")

    def __init__(self) -> None:
        self.actual: State | None = None
        # Its oldest connection, by which the first event of an agent nothing was told of gets its id.
        self.first_id = ""
        self.told: State | None = None
        self.told_by: str | None = None
        # Those told last, which an agent keeps while it is away.
        self.specialties: tuple[str, ...] = ()
        self.cause: Cause | None = None
        self.due: float | None = None
        self.sent_at: float | None = None


class Due:
    """A difference that is to be told now, under an id of its own."""

    __slots__ = ("agent_id", "message_id", "specialties", "state")

    def __init__(self, agent_id: str, message_id: str, state: State | None, specialties: tuple[str, ...]) -> None:
        self.agent_id = agent_id
        self.message_id = message_id
        self.state = state
        self.specialties = specialties


class Tellings:
    """Compares what is so with what was told. All times are of one clock that never goes back."""

    def __init__(self, grace_s: float) -> None:
        self._waits: dict[Cause, float] = {"come": 0.0, "change": DEBOUNCE_SECONDS, "gone": grace_s}
        self._tales: dict[str, _Tale] = {}
        self._schedule: list[tuple[float, str]] = []
        # Those whose time has come, in that order.
        self._owed: dict[str, None] = {}
        self._resting: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tales)

    def told(self, agent_id: str) -> State | None:
        """What was told of it last; None: nothing, or that it is offline."""
        tale = self._tales.get(agent_id)
        return None if tale is None else tale.told

    def told_by(self, agent_id: str) -> str | None:
        """The event that told what is so; None when others were not told, or told something else."""
        tale = self._tales.get(agent_id)
        return None if tale is None or tale.actual != tale.told else tale.told_by

    def is_so(self, agent_id: str, state: State | None, first_id: str, now: float) -> None:
        """What an agent does now; `first_id` is its oldest connection."""
        tale = self._tales.get(agent_id)
        if tale is None:
            if state is None:
                return
            tale = self._tales[agent_id] = _Tale()
        tale.actual, tale.first_id = state, first_id
        self._weigh(agent_id, tale, now)

    def was_told(
        self, agent_id: str, message_id: str, state: State | None, specialties: tuple[str, ...], now: float
    ) -> None:
        """The event log says so; state None: that it is offline."""
        tale = self._tales.get(agent_id)
        if tale is None:
            tale = self._tales[agent_id] = _Tale()
        tale.told, tale.told_by, tale.specialties, tale.sent_at = state, message_id, specialties, None
        if tale.cause == "change":
            tale.due = None  # what is different now waits for its turn again
        self._weigh(agent_id, tale, now)

    def knows(self, agent_id: str) -> bool:
        """Whether it is known what was told of it last."""
        tale = self._tales.get(agent_id)
        return tale is not None and tale.told_by is not None

    def learn(self, agent_id: str, message_id: str, now: float) -> None:
        """Another gateway knows that what is so was told by this event, which may be older than the log read here."""
        tale = self._tales.get(agent_id)
        if tale is not None and tale.told_by is None and tale.actual is not None:
            self.was_told(agent_id, message_id, tale.actual, tale.actual.specialties, now)

    def _weigh(self, agent_id: str, tale: _Tale, now: float) -> None:
        if tale.actual == tale.told:
            tale.cause = tale.due = tale.sent_at = None
            self._owed.pop(agent_id, None)
            if tale.actual is None:
                self._rest(agent_id)
            return
        self._resting.pop(agent_id, None)
        cause: Cause = "gone" if tale.actual is None else "come" if tale.told is None else "change"
        if cause != tale.cause or tale.due is None:
            tale.cause = cause
            self._put_off(agent_id, tale, now)

    def _put_off(self, agent_id: str, tale: _Tale, now: float) -> None:
        assert tale.cause is not None
        self._owed.pop(agent_id, None)
        tale.due = now + self._waits[tale.cause]
        heapq.heappush(self._schedule, (tale.due, agent_id))

    def _rest(self, agent_id: str) -> None:
        self._resting[agent_id] = None
        self._resting.move_to_end(agent_id)
        if len(self._resting) > REMEMBERED_AGENTS:
            forgotten, _ = self._resting.popitem(last=False)
            del self._tales[forgotten]

    def begin(self, now: float) -> None:
        """Only from now on is it known who is connected: those who seem to be gone have their grace from here."""
        for agent_id, tale in self._tales.items():
            if tale.cause == "gone":
                self._put_off(agent_id, tale, now)

    def advance(self, now: float) -> None:
        """Time has passed."""
        while self._schedule and self._schedule[0][0] <= now:
            due, agent_id = heapq.heappop(self._schedule)
            tale = self._tales.get(agent_id)
            if tale is not None and tale.due == due:
                self._owed[agent_id] = None

    def due(self, now: float, limit: int) -> list[Due]:
        """What to tell now, at most so many; each again after a while unless the log has it by then."""
        found: list[Due] = []
        for agent_id in self._owed:
            tale = self._tales[agent_id]
            if tale.sent_at is not None and now - tale.sent_at < RETRY_SECONDS:
                continue
            tale.sent_at = now
            found.append(Due(agent_id, _message_id(agent_id, tale), tale.actual, tale.specialties))
            if len(found) >= limit:
                break
        return found


def _message_id(agent_id: str, tale: _Tale) -> str:
    after = tale.told_by or tale.first_id
    return str(uuid.uuid5(_PRESENCE, f"{agent_id}\n{after}\n{tale.actual and tuple(tale.actual)}"))
