"""SQL of questions about tasks."""

from datetime import datetime
from typing import LiteralString, NamedTuple

from services.task_worker.store.rows import COLUMNS, run, task_of
from shared.database import Transaction
from shared.messages.task import Task, TaskStatus

# A task to be looked at, by the primary key.
_FIND: LiteralString = f"select {COLUMNS} from tasks where id = %s"  # noqa: S608


class Filter(NamedTuple):
    """Which tasks are asked for; None: any."""

    session_id: str | None
    agent_name: str | None
    status: TaskStatus | None
    task_type: str | None
    schedule_id: str | None


async def find_task(tx: Transaction, task_id: str) -> Task | None:
    """The task as it is now; None when there is none."""
    rows = await run(tx, _FIND, task_id)
    return task_of(rows[0]) if rows else None


async def list_tasks(tx: Transaction, wanted: Filter, after: tuple[datetime, str] | None, limit: int) -> list[Task]:
    """Up to `limit` tasks after a sort key, the newest first; by tasks_by_session or tasks_newest."""
    created, identifier = after or (None, None)
    conditions: list[LiteralString] = []
    if wanted.session_id is not None:
        conditions.append("session_id = %(session_id)s")
    if wanted.agent_name is not None:
        conditions.append("agent_name = %(agent_name)s")
    if wanted.status is not None:
        conditions.append("status = %(status)s")
    if wanted.task_type is not None:
        conditions.append("task_type = %(task_type)s")
    if wanted.schedule_id is not None:
        conditions.append("schedule_id = %(schedule_id)s")
    if after is not None:
        conditions.append("(created, id) < (%(created)s, %(id)s)")
    where: LiteralString = f"where {' and '.join(conditions)}" if conditions else ""
    statement: LiteralString = f"select {COLUMNS} from tasks {where} order by created desc, id desc limit %(limit)s"  # noqa: S608
    rows = await run(tx, statement, **wanted._asdict(), created=created, id=identifier, limit=limit)
    return [task_of(row) for row in rows]
