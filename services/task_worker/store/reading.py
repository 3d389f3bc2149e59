"""SQL of questions about tasks."""

from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from services.task_worker.store.rows import COLUMNS, rest_of, run, task_of
from shared.database import Transaction
from shared.messages.task import Task, TaskStatus

# How many tasks a search looks at for one page.
LOOKED_AT = 2_000

# A task to be looked at, by the primary key.
_FIND: LiteralString = f"select {COLUMNS} from tasks where id = %s"  # noqa: S608


class Filter(NamedTuple):
    """Which tasks are asked for; None: any."""

    session_id: str | None
    agent_name: str | None
    status: TaskStatus | None
    task_type: str | None
    schedule_id: str | None

    @property
    def is_search(self) -> bool:
        """Whether it asks for something that no index finds."""
        return any(each is not None for each in self[1:])


async def find_task(tx: Transaction, task_id: str) -> Task | None:
    """The task as it is now; None when there is none."""
    rows = await run(tx, _FIND, task_id)
    return task_of(rows[0]) if rows else None


async def list_tasks(tx: Transaction, wanted: Filter, after: tuple[datetime, str] | None, limit: int) -> list[Task]:
    """Up to `limit` tasks after a sort key, of any or of one session, the newest first.

    By tasks_by_session or tasks_newest. Only the filter's session counts.
    """
    statement: LiteralString = (
        f"select {COLUMNS} from tasks {_within(wanted, after)} order by created desc, id desc limit %(limit)s"  # noqa: S608
    )
    return [task_of(row) for row in await run(tx, statement, **_values(wanted, after, limit))]


async def search_tasks(
    tx: Transaction, wanted: Filter, after: tuple[datetime, str] | None, limit: int
) -> tuple[list[Task], tuple[datetime, str] | None]:
    """Up to `limit` tasks that the whole filter lets through, among the next `LOOKED_AT` after a sort key.

    With the sort key of the last of these, None when there are no more behind it. However rare what is asked for may
    be, that many rows are read, by tasks_by_session or tasks_newest: an index for it would cost every task.
    """
    conditions: list[LiteralString] = ["true"]
    if wanted.agent_name is not None:
        conditions.append("agent_name = %(agent_name)s")
    if wanted.status is not None:
        conditions.append("status = %(status)s")
    if wanted.task_type is not None:
        conditions.append("task_type = %(task_type)s")
    if wanted.schedule_id is not None:
        conditions.append("schedule_id = %(schedule_id)s")
    statement: LiteralString = f"""
        with looked as materialized (
            select id, created, agent_name, status, task_type, schedule_id from tasks {_within(wanted, after)}
            order by created desc, id desc limit %(most)s
        ), edge as (
            select created, id from looked order by created desc, id desc limit 1 offset %(most)s - 1
        ), hits as materialized (
            select id from looked where {" and ".join(conditions)} order by created desc, id desc limit %(limit)s
        )
        select {COLUMNS}, edge.created, edge.id
        from (select) as one left join edge on true left join (
            hits cross join lateral (select * from tasks where id = hits.id offset 0) as tasks
        ) on true
        order by tasks.created desc, tasks.id desc
    """  # noqa: S608
    rows = await run(tx, statement, **_values(wanted, after, limit), most=LOOKED_AT)
    created, identifier = rest_of(rows[0])
    edge = None if identifier is None else (created, identifier)
    return [task_of(row) for row in rows if row[0] is not None], edge


def _within(wanted: Filter, after: tuple[datetime, str] | None) -> LiteralString:
    conditions: list[LiteralString] = []
    if wanted.session_id is not None:
        conditions.append("session_id = %(session_id)s")
    if after is not None:
        conditions.append("(created, id) < (%(created)s, %(id)s)")
    return f"where {' and '.join(conditions)}" if conditions else ""


def _values(wanted: Filter, after: tuple[datetime, str] | None, limit: int) -> dict[str, Any]:
    created, identifier = after or (None, None)
    return {**wanted._asdict(), "created": created, "id": identifier, "limit": limit}
