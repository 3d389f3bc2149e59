"""Callbacks as handlers ask for them and as they are kept: for the worker runtime, and for the task worker."""

from dataclasses import dataclass
from typing import Any

from shared.bus.handled import Callback
from shared.messages import JsonText, encode, new_id, now


@dataclass(frozen=True, slots=True)
class CallbackOwed:
    """A POST to whoever asked to be told: `{"type", "timestamp", "data"}`, sent by the task worker until it is taken.

    `message_id` is the command it tells of; None: the one that is being handled.
    """

    url: str
    type: str
    data: dict[str, Any]
    task_id: str | None = None
    message_id: str | None = None


def command_reply(
    url: str, message_id: str, command: str, *, result: Any = None, error: dict[str, Any] | JsonText | None = None
) -> CallbackOwed:
    """The callback that tells a command's reply: its result, or the error when there is one."""
    told = {"status": "done", "result": result} if error is None else {"status": "failed", "error": error}
    data = {"message_id": message_id, "command": command, **told}
    return CallbackOwed(url, "command_reply", data, message_id=message_id)


def kept(owed: CallbackOwed, message_id: str) -> Callback:
    """A callback with its id and its body as text, owed by the command `message_id` unless it tells of another."""
    body = encode({"type": owed.type, "timestamp": now(), "data": owed.data})
    return Callback(new_id(), owed.type, owed.url, body.decode(), owed.message_id or message_id, owed.task_id)
