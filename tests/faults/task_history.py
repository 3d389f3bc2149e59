"""What may be true of the history of tasks, whatever was killed meanwhile: read from events in the sessions' order."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ENDS = {"task_completed": "completed", "task_failed": "failed", "task_cancelled": "cancelled", "task_dead": "dead"}


@dataclass
class Told:
    """A task as its events have told of it so far; `holder` while it is in somebody's hands."""

    status: str
    attempt: int = 0
    holder: str | None = None
    completed_by: str | None = None


def replay(events: Iterable[dict[str, Any]]) -> dict[str, Told]:
    """The tasks as their events leave them. Raises AssertionError at the first event that can't follow the others."""
    tasks: dict[str, Told] = {}
    for event in events:
        task, kind = event["task"], event["type"]
        where = f"{kind} of {task['task_id']} (number {event.get('session_seq')})"
        if kind == "task_created":
            assert task["task_id"] not in tasks, f"{where}: it was created before"
            tasks[task["task_id"]] = Told("pending")
            continue
        told = tasks.get(task["task_id"])
        assert told is not None, f"{where}: it was never created"
        if kind == "task_claimed":
            assert told.status == "pending", f"{where}: {told.holder} holds it, or it has ended: {told.status}"
            assert task["attempt"] == told.attempt + 1, f"{where}: attempt {task['attempt']} after {told.attempt}"
            told.status, told.attempt, told.holder = "claimed", task["attempt"], task["claimed_by"]
        elif kind == "task_started":
            assert told.status == "claimed", f"{where}: it is {told.status}"
            assert task["claimed_by"] == told.holder, f"{where}: {told.holder} holds it"
            told.status = "running"
        elif kind in ("task_requeued", "task_retrying"):
            assert told.status in ("claimed", "running"), f"{where}: it is {told.status}"
            told.status, told.holder = "pending", None
        elif kind == "task_ready":
            assert told.status == "pending", f"{where}: it is {told.status}"
        else:
            assert told.status not in ENDS.values(), f"{where}: it had ended: {told.status}"
            if kind in ("task_completed", "task_dead"):
                assert told.holder is not None, f"{where}: nobody held it"
                assert task["claimed_by"] == told.holder, f"{where}: {told.holder} held it"
            told.completed_by = told.holder if kind == "task_completed" else None
            told.status, told.holder = ENDS[kind], None
    return tasks
