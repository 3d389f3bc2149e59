"""Tasks: which status may follow which, who may report on one, and what is told of it; pure."""

import secrets
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any

from shared.errors import Rejected, conflict, not_found
from shared.messages import Event, JsonText
from shared.messages.task import ClaimedTask, Task, TaskClaimed, TaskCompleted, TaskDead, TaskRequeued, TaskStatus

LEASE_SECONDS = 60

# By the status it has: the statuses it may move to. What is not here is refused.
TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    "pending": frozenset({"claimed"}),
    "claimed": frozenset({"completed", "pending", "dead"}),
    "running": frozenset({"completed", "pending", "dead"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "dead": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Agent:
    """Whose queue it is; `max_concurrent` 0: any number of its tasks may be in hand at once."""

    name: str
    max_concurrent: int


@dataclass(frozen=True, slots=True)
class Held:
    """A task locked for a change, the lease it was last given, and the moment of the change."""

    task: Task
    lease_token: str | None
    at: str


Moved = tuple[Task, Event]


def claimable(agent: Agent, wanted: int, in_hand: int) -> int:
    """How many tasks a claim may take while the agent has so many in hand."""
    return min(wanted, max(0, agent.max_concurrent - in_hand)) if agent.max_concurrent else wanted


def lease_tokens(count: int) -> list[str]:
    """Tokens that nobody guesses, one for each lease."""
    return [secrets.token_urlsafe(18) for _ in range(count)]


def claimed(task: ClaimedTask) -> TaskClaimed:
    """What is told of a claim; the lease is its claimer's alone."""
    public = Task(**{name: value for name, value in task.__dict__.items() if name in Task.model_fields})
    return TaskClaimed(session_id=task.session_id, task=public)


def complete(held: Held, lease_token: str, output: JsonText | None) -> Moved:
    """Report a task done. Raises `Rejected("conflict")` unless it is in hand under this very lease."""
    task = held.task
    if held.lease_token is None or not compare_digest(held.lease_token.encode(), lease_token.encode()):
        raise _refused(task, "this lease is not, or no longer, its own")
    if task.status == "completed":
        raise _refused(task, "it was already completed with this lease")
    done = _moved(task, "completed", output_data=output, completed=held.at)
    return done, TaskCompleted(session_id=task.session_id, task=done)


def lapse(held: Held) -> Moved:
    """Take a task from a claimer whose lease has lapsed: back into its queue, or to the dead after its last attempt."""
    task = held.task
    if task.attempt < task.max_attempts:
        waiting = _moved(task, "pending", claimed_by=None, started=None)
        return waiting, TaskRequeued(session_id=task.session_id, task=waiting)
    reason = f"the lease of {task.claimed_by} lapsed in attempt {task.attempt} of {task.max_attempts}"
    dead = _moved(task, "dead", error_message=reason, completed=held.at)
    return dead, TaskDead(session_id=task.session_id, task=dead)


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


def _moved(task: Task, status: TaskStatus, **changes: Any) -> Task:
    if status not in TRANSITIONS[task.status]:
        raise _refused(task, f"it can't become {status}")
    return task.model_copy(update={"status": status, **changes})


def _refused(task: Task, reason: str) -> Rejected:
    return conflict(f"task {task.task_id!r} is {task.status}: {reason}", task_id=task.task_id, status=task.status)
