"""The task worker's reading commands."""

from datetime import datetime
from typing import Any

from services.task_worker import tasks
from services.task_worker.callbacks.commands import list_callbacks
from services.task_worker.runs.queries import QUERIES as RUN_QUERIES
from services.task_worker.store import agents, reading
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.messages import Command
from shared.messages.task import GetTask, ListTasks
from shared.pages import cursor_after, page_of, sort_key


async def get_task(tx: Transaction, command: Command) -> dict[str, Any]:
    """One task with its status and output. Raises `Rejected("not_found")`."""
    data: GetTask = command.data
    task = await reading.find_task(tx, data.task_id)
    if task is None or data.session_id not in (None, task.session_id):
        raise tasks.unknown_task(data.task_id)
    return {"task": task}


async def list_tasks(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of tasks, the newest first; a short or empty one may have a `next` when a search has looked at enough."""
    data: ListTasks = command.data
    wanted = reading.Filter(data.session_id, data.agent_name, data.status, data.task_type, data.schedule_id)
    after = sort_key(data.cursor, datetime, str)
    edge = None
    if wanted.is_search:
        found, edge = await reading.search_tasks(tx, wanted, after, data.limit + 1)
    else:
        found = await reading.list_tasks(tx, wanted, after, data.limit + 1)
    page, last = page_of(found, data.limit)
    if last is not None:
        return {"tasks": page, "next": cursor_after(last.created, last.task_id)}
    return {"tasks": page, "next": cursor_after(*edge) if edge else None}


async def list_agents(tx: Transaction, command: Command) -> dict[str, Any]:
    """Every agent with what waits for it and what it has in hand."""
    return {"agents": await agents.list_agents(tx)}


QUERIES: dict[str, QueryHandler] = {
    **{query.__name__: query for query in (get_task, list_tasks, list_callbacks, list_agents)},
    **RUN_QUERIES,
}
