"""Callbacks: what is POSTed to whoever asked to be told, signed by Standard Webhooks, and what became of it."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Model
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

CallbackStatus = Literal["pending", "delivered", "refused", "gone", "failed"]
# Where a callback goes; which targets are refused is the rule of shared/targets.py.
CallbackUrl = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class CallbackAttempt(Model):
    """One POST: the receiver's status, or what went wrong; neither while it is under way or when its sender died."""

    number: int
    started: str
    status: int | None
    error: str | None
    response: str | None
    ms: int | None


class Callback(Model):
    """A POST owed to a URL: until it is taken (2xx), refused, answered 410 (gone), or a day old (failed)."""

    callback_id: str
    type: str
    url: str
    message_id: str
    task_id: str | None
    status: CallbackStatus
    created: str
    next_attempt: str | None
    finished: str | None
    attempts: list[CallbackAttempt]


@command(
    "task",
    result={"callbacks": list[Callback], "next": str | None},
    reads=True,
    scope="admin",
    example={"status": "failed", "limit": 20},
)
class ListCallbacks(CommandData):
    """List callbacks with their attempts, newest first: all, those of a task, or that of a command."""

    task_id: Id | None = None
    message_id: Id | None = None
    status: CallbackStatus | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command("task", result={}, public=False)
class SendCallback(CommandData):
    """POST the reply of a command that no worker's transaction recorded: one that only read, or that was given up."""

    url: CallbackUrl
    message_id: Id
    command: Id
    result: JsonText | None = None
    error: JsonText | None = None
