"""How ready an agent is to take up something with others: a number from 0 to 100, and what it is made of."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.ws_gateway.agents.roster import Agent
from services.ws_gateway.stream.frames import Frame
from shared.messages.json_text import rfc3339

# What a status leaves of the whole.
BY_STATUS = {"online": 100, "idle": 80, "working": 60, "offline": 0}
# With this much to do, half of it is left.
LOAD_OF_A_HALF = 4
# Who has not said what it is good at is asked less readily than who has.
UNKNOWN_SPECIALTIES = 0.9
REMEMBERED_TASKS = 20_000

TASK_BEGINS = ("task_claimed", "task_started")
TASK_ENDS = ("task_requeued", "task_retrying", "task_completed", "task_failed", "task_cancelled", "task_dead")


def readiness(
    status: str, *, load: int = 0, health: int = 100, specialties: Collection[str] = (), wanted: Collection[str] = ()
) -> int:
    """Collaboration readiness, 0 (offline) to 100 (online, healthy, nothing to do, and good at what is wanted).

    `BY_STATUS[status]` × `health` (of the connection, 0-100) / 100 × 4 / (4 + `load`) × fit, rounded. `load` counts
    open sidebars and running tasks. The fit is the share of `wanted` specialties that the agent has; with none wanted
    it is 1, or 0.9 for an agent that names no specialties. A status that is not known counts as offline.
    """
    if wanted:
        own = {specialty.casefold() for specialty in specialties}
        fit = sum(want.casefold() in own for want in wanted) / len(wanted)
    else:
        fit = 1.0 if specialties else UNKNOWN_SPECIALTIES
    left = LOAD_OF_A_HALF / (LOAD_OF_A_HALF + max(0, load))
    return round(BY_STATUS.get(status, 0) * min(max(health, 0), 100) / 100 * left * fit)


def described(agent: Agent, load: int, health: int | None) -> dict[str, Any]:
    """An agent that is connected, for the status display.

    `{agent_id, kind, status, current_context, active_sidebars, specialties, load, readiness, gateway_id, since}`, the
    last two of the connection it has had longest. A `health` that is not known counts as 100.
    """
    state, first = agent.state, agent.first
    assert state is not None
    score = 100 if health is None else health
    return {
        "agent_id": agent.agent_id,
        "kind": first.seat.kind,
        "status": state.status,
        "current_context": state.current_context,
        "active_sidebars": list(state.active_sidebars),
        "specialties": list(state.specialties),
        "load": load,
        "readiness": readiness(state.status, load=load, health=score, specialties=state.specialties),
        "gateway_id": first.gateway_id,
        "since": rfc3339(datetime.fromtimestamp(first.seat.since, UTC)),
    }


class _Task(msgspec.Struct):
    task_id: str
    agent_name: str
    claimed_by: str | None = None


class _TaskEvent(msgspec.Struct):
    task: _Task


_TASK_EVENT = msgspec.json.Decoder(_TaskEvent)


class RunningTasks:
    """How many tasks each agent has in hand, by the events seen so far; to be given to `Intake.watch`."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._tasks)

    def of(self, agent_id: str) -> int:
        """The tasks an agent has claimed, or that were claimed under its name."""
        return self._counts[agent_id]

    def look(self, frame: Frame) -> None:
        """Look at an event of one of the types in `TASK_BEGINS` and `TASK_ENDS`; what can't be read is left out."""
        try:
            task = _TASK_EVENT.decode(frame.text).task
        except msgspec.MsgspecError:
            return
        self._count(self._tasks.pop(task.task_id, ()), -1)
        if frame.type in TASK_BEGINS:
            holders = frozenset(filter(None, (task.agent_name, task.claimed_by)))
            self._tasks[task.task_id] = holders
            self._count(holders, 1)
            if len(self._tasks) > REMEMBERED_TASKS:
                self._count(self._tasks.popitem(last=False)[1], -1)

    def _count(self, holders: Iterable[str], by: int) -> None:
        for holder in holders:
            self._counts[holder] += by
            if self._counts[holder] <= 0:
                del self._counts[holder]
