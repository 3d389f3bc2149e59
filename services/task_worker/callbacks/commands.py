"""The commands about callbacks, and the callback that tells of a task's end."""

from datetime import datetime
from typing import Any

from services.task_worker.callbacks import store
from shared.bus.callbacks import CallbackOwed, command_reply
from shared.bus.queries import QueryHandler
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.callbacks import ListCallbacks, SendCallback
from shared.messages.task import Task
from shared.pages import cursor_after, page_of, sort_key


def ended(task: Task, callback_url: str | None) -> list[CallbackOwed]:
    """The callback owed for a task that has ended, if one was asked for: `task_completed`, `task_failed`, …"""
    if callback_url is None:
        return []
    return [CallbackOwed(callback_url, f"task_{task.status}", {"task": task}, task_id=task.task_id)]


async def send_callback(tx: Transaction, command: Command) -> Reply:
    """Owe somebody the reply of another command."""
    data: SendCallback = command.data
    return Reply(
        {}, callbacks=[command_reply(data.url, data.message_id, data.command, result=data.result, error=data.error)]
    )


async def list_callbacks(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of callbacks with their attempts, the newest first."""
    data: ListCallbacks = command.data
    wanted = store.Filter(data.task_id, data.message_id, data.status)
    found = await store.list_callbacks(tx, wanted, sort_key(data.cursor, datetime, str), data.limit + 1)
    page, last = page_of(found, data.limit)
    return {"callbacks": page, "next": cursor_after(last.created, last.callback_id) if last else None}


HANDLERS: dict[str, Handler] = {"send_callback": send_callback}
QUERIES: dict[str, QueryHandler] = {"list_callbacks": list_callbacks}
