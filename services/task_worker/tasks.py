"""Tasks: which status may follow which, who may report on one, and what is told of it; pure."""

import random
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.errors import Rejected, conflict, not_found
from shared.messages import Event, rfc3339
from shared.messages.task import ClaimedTask, Task, TaskStatus
from shared.messages.task_events import (
    TaskCancelled,
    TaskClaimed,
    TaskDead,
    TaskFailed,
    TaskRequeued,
    TaskRetrying,
)

LEASE_SECONDS = 60

# After a failed attempt the next waits 1 s, 2 s, 4 s … up to five minutes, each up to a quarter shorter or longer, so
# that tasks which failed together don't come back together.
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 300.0

# By the status it has: the statuses a task may move to. What is not here is refused.
TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    # failed: a task it depends on did not complete.
    "pending": frozenset({"claimed", "failed", "cancelled"}),
    # pending: a lapsed lease, or an attempt that failed before the last.
    "claimed": frozenset({"running", "completed", "failed", "cancelled", "pending", "dead"}),
    "running": frozenset({"completed", "failed", "cancelled", "pending", "dead"}),
    "completed": frozenset(),
    # pending: brought back by retry_task.
    "failed": frozenset({"pending"}),
    "cancelled": frozenset(),
    "dead": frozenset({"pending"}),
}
ENDS: frozenset[TaskStatus] = frozenset({"completed", "failed", "cancelled", "dead"})
IN_HAND: frozenset[TaskStatus] = frozenset({"claimed", "running"})


@dataclass(frozen=True, slots=True)
class Held:
    """A task locked for a change, the lease it was last given, and the moment of the change."""

    task: Task
    lease_token: str | None
    # When the attempt in hand takes too long.
    deadline: datetime | None
    at: datetime


Moved = tuple[Task, Event]
# Not ASCII, so no URL that a callback may go to has it.
_HIDDEN = "…"


def shown_target(url: str) -> str:
    """A callback's URL as anybody may see it: scheme and host. The rest may be somebody's secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split(r'[/?#]', rest.replace(chr(92), '/'), maxsplit=1)[0].rpartition('@')[2]}/{_HIDDEN}"


def is_shown_target(url: str) -> bool:
    """Whether a URL is what `shown_target` leaves of one; no callback can go there."""
    return url.endswith(f"/{_HIDDEN}")


def may_become(status: TaskStatus) -> list[TaskStatus]:
    """The statuses from which a task may move to this one."""
    return [before for before, after in TRANSITIONS.items() if status in after]


def claimable(max_concurrent: int, wanted: int, in_hand: int) -> int:
    """How many tasks a claim may take while its agent has so many in hand; `max_concurrent` 0: no limit."""
    return min(wanted, max(0, max_concurrent - in_hand)) if max_concurrent else wanted


def lease_tokens(count: int) -> list[str]:
    """Tokens that nobody guesses, one for each lease."""
    return [secrets.token_urlsafe(18) for _ in range(count)]


def backoff(attempt: int) -> float:
    """Seconds until the next attempt, after so many."""
    wait = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(attempt - 1, 30), LONGEST_BACKOFF_SECONDS)
    return wait * random.uniform(0.75, 1.25)


def claimed(task: ClaimedTask) -> TaskClaimed:
    """What is told of a claim; the lease is its claimer's alone."""
    return TaskClaimed(session_id=task.session_id, task=without_lease(task))


def without_lease(task: ClaimedTask) -> Task:
    """The task as anybody may see it."""
    fields = dict(task.__dict__)
    del fields["lease_token"], fields["lease_expires"]
    return Task.trusted(fields)


def fail(held: Held, reason: str, *, retry: bool) -> Moved:
    """An attempt has failed: the task waits for the next, is dead after the last, or failed if another is no use."""
    task = held.task
    if not retry:
        return failed(held, reason)
    if task.attempt >= task.max_attempts:
        dead = _moved(task, "dead", error_message=reason, completed=rfc3339(held.at), due=None)
        return dead, TaskDead(session_id=task.session_id, task=dead)
    due = rfc3339(held.at + timedelta(seconds=backoff(task.attempt)))
    waiting = _moved(task, "pending", claimed_by=None, started=None, error_message=reason, due=due)
    return waiting, TaskRetrying(session_id=task.session_id, task=waiting, reason=reason, due=due)


def failed(held: Held, reason: str) -> Moved:
    """The task is over without having been done."""
    task = held.task
    ended = _moved(task, "failed", error_message=reason, completed=rfc3339(held.at), due=None)
    return ended, TaskFailed(session_id=task.session_id, task=ended, reason=reason)


def lapse(held: Held) -> Moved:
    """Take a task from a claimer that has let its lease lapse, or takes too long.

    A lapsed lease: back into its place in the queue at once. Too long: a failed attempt, as any other. Either way the
    task is dead after its last attempt.
    """
    task = held.task
    which = f"attempt {task.attempt} of {task.max_attempts}"
    if held.deadline is not None and held.deadline <= held.at:
        return fail(held, f"{which} by {task.claimed_by} took longer than {task.timeout_s:g} s", retry=True)
    reason = f"the lease of {task.claimed_by} lapsed in {which}"
    if task.attempt >= task.max_attempts:
        return fail(held, reason, retry=True)
    waiting = _moved(task, "pending", claimed_by=None, started=None)
    return waiting, TaskRequeued(session_id=task.session_id, task=waiting, reason=reason)


def cancel(held: Held, reason: str | None) -> Moved:
    """End a task, whoever holds it. Raises `Rejected("conflict")` when it has ended."""
    task = held.task
    ended = _moved(task, "cancelled", error_message=reason or task.error_message, completed=rfc3339(held.at), due=None)
    return ended, TaskCancelled(session_id=task.session_id, task=ended, reason=reason)


def revive(held: Held, by: str) -> Moved:
    """Bring a task back, as if it had never been tried. Raises `Rejected("conflict")` unless it is dead or failed."""
    task = held.task
    if task.status not in ENDS:
        raise _refused(task, "it has not ended")
    waiting = _moved(
        task, "pending", attempt=0, claimed_by=None, started=None, completed=None, error_message=None, due=None
    )
    return waiting, TaskRequeued(session_id=task.session_id, task=waiting, reason=f"brought back by {by}")


def refused_report(held: Held, lease_token: str, verb: str) -> Rejected:
    """Why a report under a lease is refused: it is not the task's, or not any more."""
    task = held.task
    if held.lease_token != lease_token:
        return _refused(task, "this lease is not, or no longer, its own")
    if task.status == "completed":
        return _refused(task, "it was already completed with this lease")
    if held.deadline is not None and held.deadline <= held.at and task.status in IN_HAND:
        return _refused(task, f"its {task.timeout_s:g} s are over, and with them this lease")
    return _refused(task, f"it can't be {verb} any more")


def unknown_agent(name: str, registered: list[str]) -> Rejected:
    """The refusal of work for an agent nobody registered, naming those there are."""
    return Rejected(
        "not_found",
        f"agent {name!r} is not registered; registered are: {', '.join(registered) or 'none'}",
        agent_name=name,
        registered=registered,
    )


def unknown_task(task_id: str) -> Rejected:
    """There is no such task."""
    return not_found("task", task_id)


def dependency_reason(task_id: str, status: TaskStatus, reason: str | None) -> str:
    """Why a task fails whose dependency has ended without being completed."""
    return f"task {task_id} it depends on is {status}" + (f": {reason}" if reason else "")


def _moved(task: Task, status: TaskStatus, **changes: Any) -> Task:
    if status not in TRANSITIONS[task.status]:
        raise _refused(task, f"it can't become {status}")
    return task.model_copy(update={"status": status, **changes})


def _refused(task: Task, reason: str) -> Rejected:
    return conflict(f"task {task.task_id!r} is {task.status}: {reason}", task_id=task.task_id, status=task.status)
