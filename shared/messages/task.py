"""The task queue: commands, the noun and its events."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.messages.envelope import CommandData, Event, Id, Model, Text
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

TaskStatus = Literal["pending", "claimed", "running", "completed", "failed", "cancelled", "dead"]


class Task(Model):
    """A piece of work for an agent, held by at most one worker at a time."""

    task_id: str
    session_id: str
    agent_name: str
    task_type: str
    description: str | None
    priority: int
    status: TaskStatus
    input_data: JsonText | None
    output_data: JsonText | None
    error_message: str | None
    attempt: int
    max_attempts: int
    claimed_by: str | None
    created: str
    started: str | None
    completed: str | None


class ClaimedTask(Task):
    """A task with the lease its claimer holds."""

    lease_token: str
    lease_expires: str


@command("task", result={"task": Task}, creates=True)
class DelegateTask(CommandData):
    """Put a task into an agent's queue; 0-9, higher priorities are claimed first."""

    session_id: Id
    agent_name: Id
    task_type: Id
    description: Text | None = None
    input_data: JsonText | None = None
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3


@command("task", result={"tasks": list[ClaimedTask]}, needs_session=False)
class ClaimTask(CommandData):
    """Take the next tasks of an agent's queue, each with a lease of 60 s; an empty list when there are none."""

    agent_name: Id
    worker_id: Id
    count: Annotated[int, Field(ge=1, le=50)] = 1


@command("task", result={"task": Task}, needs_session=False)
class CompleteTask(CommandData):
    """Report a claimed task as done; refused when the lease has passed to another."""

    task_id: Id
    lease_token: Id
    output_data: JsonText | None = None


@command("task", result={"task": Task}, reads=True)
class GetTask(CommandData):
    """One task with its status and output."""

    task_id: Id


@command("task", result={"tasks": list[Task], "next": str | None}, reads=True)
class ListTasks(CommandData):
    """Tasks by session, agent and status, the newest first."""

    session_id: Id | None = None
    agent_name: Id | None = None
    status: TaskStatus | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command("task", result={"requeued": int, "dead": int}, public=False, needs_session=False)
class ExpireLeases(CommandData):
    """Give tasks whose lease has lapsed back to the queue, or to the dead after their last attempt."""


class TaskEvent(Event):
    """The base of what happens to a task."""

    task: Task


class TaskCreated(TaskEvent):
    """A task was put into an agent's queue."""

    topic: ClassVar = "task.{session_id}.created"
    type: Literal["task_created"] = "task_created"


class TaskClaimed(TaskEvent):
    """A worker took a task."""

    topic: ClassVar = "task.{session_id}.claimed"
    type: Literal["task_claimed"] = "task_claimed"


class TaskRequeued(TaskEvent):
    """A task's lease lapsed; it waits again."""

    topic: ClassVar = "task.{session_id}.requeued"
    type: Literal["task_requeued"] = "task_requeued"


class TaskCompleted(TaskEvent):
    """A task was reported done."""

    topic: ClassVar = "task.{session_id}.completed"
    type: Literal["task_completed"] = "task_completed"


class TaskDead(TaskEvent):
    """A task failed its last attempt."""

    topic: ClassVar = "task.{session_id}.dead"
    type: Literal["task_dead"] = "task_dead"
