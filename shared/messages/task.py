"""The task queue: commands and the noun."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Label, Model, Text
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

TaskStatus = Literal["pending", "claimed", "running", "completed", "failed", "cancelled", "dead"]
Capability = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
# What a claimer must be able to do: a set, so its order and repetitions mean nothing.
Capabilities = Annotated[list[Capability], Field(max_length=20), AfterValidator(lambda given: sorted(set(given)))]
# RFC 3339; whether there is such a moment the handler finds out.
Moment = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$", max_length=64)
]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
CallbackTarget = Annotated[str, StringConstraints(pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s]+$", max_length=2_000)]

_LEASED = {"task_id": "0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f50", "lease_token": "sAq3hZ0c9mB7xV1kT5nW2eRd"}


class Task(Model):
    """A piece of work for an agent, held by at most one worker at a time.

    With `cron` it is a schedule, which is never claimed: each time it is due it makes a task that names it as
    `schedule_id`. `due` is when a task that waits for a moment (`run_at`, a retry, a schedule's next time) has waited
    for it. `started` is when the attempt in hand was claimed, or begun once `start_task` has said so. Of
    `callback_url` only scheme and host are shown (`https://hooks.example.com/…`), but in the reply to `delegate_task`.
    """

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
    timeout_s: float | None
    depends_on: list[str]
    capabilities: list[str]
    run_at: str | None
    due: str | None
    cron: str | None
    schedule_id: str | None
    idempotency_key: str | None
    callback_url: str | None
    claimed_by: str | None
    created: str
    started: str | None
    completed: str | None


class ClaimedTask(Task):
    """A task with the lease its claimer holds."""

    lease_token: str
    lease_expires: str


@command(
    "task",
    result={"task": Task},
    creates=True,
    # The whole of `callback_url`.
    confidential=True,
    example={
        "session_id": "demo",
        "agent_name": "claude_code",
        "task_type": "write_tests",
        "description": "Cover the rounding rules of the checkout",
        "input_data": {"files": ["checkout/prices.py"]},
        "priority": 7,
        "timeout_s": 900,
    },
)
class DelegateTask(CommandData):
    """Put a task into an agent's queue, now, at a moment or on a schedule; 0-9, higher priorities are claimed first.

    It waits for the tasks of its session named in `depends_on`, and for `run_at`. `cron` (five fields, or six with
    seconds first; UTC) makes a schedule instead. The same `idempotency_key` for the agent in the session gives the same
    task again. `timeout_s` bounds each attempt from its claim on.
    """

    session_id: Id
    agent_name: Id
    task_type: Id
    description: Text | None = None
    input_data: JsonText | None = None
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    # Made anew by a factory: a list as the default would be copied deeply for each task.
    depends_on: Annotated[list[Id], Field(max_length=100)] = Field(default_factory=list)
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    timeout_s: Seconds | None = None
    run_at: Moment | None = None
    cron: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    capabilities: Capabilities = Field(default_factory=list)
    idempotency_key: Id | None = None
    callback_url: CallbackTarget | None = None


@command(
    "task",
    result={"tasks": list[ClaimedTask]},
    needs_session=False,
    scope="agent",
    # Leases.
    confidential=True,
    example={"agent_name": "claude_code", "worker_id": "laptop-1", "count": 1, "wait_s": 5},
)
class ClaimTask(CommandData):
    """Take the next tasks of an agent's queue, each with a lease of 60 s; an empty list when there are none.

    With `wait_s` the answer comes as soon as there is a task, and is empty only after so many seconds. `capabilities`
    (by default the agent's own) are what the claimer can do; tasks that need more are left to others.
    """

    agent_name: Id
    worker_id: Id
    capabilities: Capabilities | None = None
    count: Annotated[int, Field(ge=1, le=50)] = 1
    wait_s: Annotated[float, Field(ge=0, le=30)] = 0
    session_id: Id | None = None


@command("task", result={"task": Task}, needs_session=False, scope="agent", idempotent=True, example=_LEASED)
class StartTask(CommandData):
    """Say that work on a claimed task has begun; refused when the lease has passed to another."""

    task_id: Id
    lease_token: Id
    session_id: Id | None = None


@command("task", result={"task": ClaimedTask}, needs_session=False, scope="agent", confidential=True, example=_LEASED)
class HeartbeatTask(CommandData):
    """Keep a claimed task for another 60 s; refused when it was cancelled or the lease has passed to another."""

    task_id: Id
    lease_token: Id
    session_id: Id | None = None


@command(
    "task",
    result={"task": Task},
    needs_session=False,
    scope="agent",
    example={**_LEASED, "output_data": {"tests_added": 12}},
)
class CompleteTask(CommandData):
    """Report a claimed task as done; refused when the lease has passed to another."""

    task_id: Id
    lease_token: Id
    output_data: JsonText | None = None
    session_id: Id | None = None


@command(
    "task",
    result={"task": Task},
    needs_session=False,
    scope="agent",
    example={**_LEASED, "error_message": "the repository could not be cloned", "retry": True},
)
class FailTask(CommandData):
    """Report that an attempt failed: it is tried again after a while, unless `retry` is false or it was the last."""

    task_id: Id
    lease_token: Id
    error_message: Label
    retry: bool = True
    session_id: Id | None = None


@command(
    "task",
    result={"task": Task},
    needs_session=False,
    destructive=True,
    example={"task_id": _LEASED["task_id"], "reason": "no longer needed"},
)
class CancelTask(CommandData):
    """End a task that has not ended, or a schedule; whoever holds it learns at the next heartbeat, by `conflict`."""

    task_id: Id
    reason: Label | None = None
    session_id: Id | None = None


@command("task", result={"task": Task}, needs_session=False, example={"task_id": _LEASED["task_id"]})
class RetryTask(CommandData):
    """Bring a dead or failed task back into its queue, with all of its attempts before it again."""

    task_id: Id
    session_id: Id | None = None


@command("task", result={"task": Task}, reads=True, example={"task_id": _LEASED["task_id"]})
class GetTask(CommandData):
    """One task with its status and output."""

    task_id: Id
    session_id: Id | None = None


@command(
    "task",
    result={"tasks": list[Task], "next": str | None},
    reads=True,
    example={"session_id": "demo", "status": "pending", "limit": 20},
)
class ListTasks(CommandData):
    """Tasks by session, agent, status, type and schedule, the newest first.

    By anything but the session, 2,000 tasks are looked at for a page: it may be short, or empty, and have a `next` all
    the same.
    """

    session_id: Id | None = None
    agent_name: Id | None = None
    status: TaskStatus | None = None
    task_type: Id | None = None
    schedule_id: Id | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command(
    "task",
    result={"imported": int},
    scope="admin",
    # Closed sessions move, too.
    needs_session=False,
    example={"session_id": "demo", "tasks": []},
)
class ImportTasks(CommandData):
    """Write tasks as they were, with their ids and moments, up to 1,000; what was in hand waits again.

    `tasks` is a list of tasks as `list_tasks` gives them. One that is there already is left as it is; if another is
    there in its place, the import is refused.
    """

    session_id: Id
    tasks: JsonText


@command("task", result={"requeued": int, "dead": int}, public=False, needs_session=False)
class ExpireLeases(CommandData):
    """Take back tasks whose lease has lapsed or whose time is up; they wait again, unless it was the last attempt."""


@command("task", result={"ready": int, "made": int}, public=False, needs_session=False)
class RunDueTasks(CommandData):
    """Put tasks whose moment has come into their queue, and make the tasks of schedules that are due."""
