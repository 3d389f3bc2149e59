"""What is told of tasks: an event for each move, with the whole task."""

from typing import ClassVar, Literal

from shared.messages.envelope import Event
from shared.messages.task import Task


class TaskEvent(Event):
    """The base of what happens to a task."""

    task: Task


class TaskCreated(TaskEvent):
    """A task was put into an agent's queue, or a schedule was made."""

    topic: ClassVar = "task.{session_id}.created"
    type: Literal["task_created"] = "task_created"


class TaskReady(TaskEvent):
    """What a task waited for has come: its dependencies are done, its moment is there; it can be claimed."""

    topic: ClassVar = "task.{session_id}.ready"
    type: Literal["task_ready"] = "task_ready"


class TaskClaimed(TaskEvent):
    """A worker took a task."""

    topic: ClassVar = "task.{session_id}.claimed"
    type: Literal["task_claimed"] = "task_claimed"


class TaskStarted(TaskEvent):
    """A worker has begun to work on a task."""

    topic: ClassVar = "task.{session_id}.started"
    type: Literal["task_started"] = "task_started"


class TaskRequeued(TaskEvent):
    """A task waits again: its lease lapsed, or it was brought back by `retry_task`; `reason` tells."""

    topic: ClassVar = "task.{session_id}.requeued"
    type: Literal["task_requeued"] = "task_requeued"
    reason: str | None = None


class TaskRetrying(TaskEvent):
    """An attempt failed or took too long; the task waits until `due` for the next."""

    topic: ClassVar = "task.{session_id}.retrying"
    type: Literal["task_retrying"] = "task_retrying"
    reason: str
    due: str


class TaskCompleted(TaskEvent):
    """A task was reported done."""

    topic: ClassVar = "task.{session_id}.completed"
    type: Literal["task_completed"] = "task_completed"


class TaskFailed(TaskEvent):
    """A task has failed for good: its worker said so, or a task it depends on did not complete."""

    topic: ClassVar = "task.{session_id}.failed"
    type: Literal["task_failed"] = "task_failed"
    reason: str


class TaskCancelled(TaskEvent):
    """A task or a schedule was ended by `cancel_task`."""

    topic: ClassVar = "task.{session_id}.cancelled"
    type: Literal["task_cancelled"] = "task_cancelled"
    reason: str | None = None


class TaskDead(TaskEvent):
    """A task failed its last attempt."""

    topic: ClassVar = "task.{session_id}.dead"
    type: Literal["task_dead"] = "task_dead"
