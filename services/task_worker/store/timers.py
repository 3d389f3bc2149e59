"""SQL of what happens by itself: leases that lapse, moments that come."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString, NamedTuple

from services.task_worker.store.rows import json_rows, run
from shared.database import Transaction

# The lease that lapses first, the moment that comes first, and the moment it is. By the heads of tasks_in_hand, one for
# each agent, and that of tasks_due.
_NEXT: LiteralString = """
    select
        (select min(head.lease_expires) from agents, lateral (
            select lease_expires from tasks where agent_name = agents.name and lease_expires is not null
            order by lease_expires limit 1
        ) as head),
        (select due from tasks where due is not null order by due limit 1),
        clock_timestamp()
"""

# Tasks whose lease has lapsed, with their sessions; by tasks_in_hand.
_LAPSED: LiteralString = """
    select head.id, head.session_id from agents, lateral (
        select id, session_id, lease_expires from tasks
        where agent_name = agents.name and lease_expires < statement_timestamp()
        order by lease_expires limit %(limit)s
    ) as head
    order by head.lease_expires limit %(limit)s
"""

# Tasks and schedules whose moment has come, with their sessions; by tasks_due.
_DUE: LiteralString = """
    select id, session_id, cron is not null from tasks where due <= statement_timestamp() order by due limit %s
"""

# Of these, those that it is still true of: another worker may have been there meanwhile. By the primary key.
_STILL_LAPSED: LiteralString = """
    select id from tasks
    where id = any (array(select json_array_elements_text(%s))) and lease_expires < statement_timestamp()
"""
_STILL_DUE: LiteralString = """
    select id, cron is not null from tasks
    where id = any (array(select json_array_elements_text(%s))) and due <= statement_timestamp()
"""

# A schedule's next time; by the primary key.
_SET_DUE: LiteralString = """
    update tasks set due = next.due from json_to_recordset(%s) as next (id text, due timestamptz)
    where tasks.id = next.id
"""


class Next(NamedTuple):
    """When there is something to do next: a lease lapses, a moment comes."""

    lapse: datetime | None
    due: datetime | None
    now: datetime


async def find_next(tx: Transaction) -> Next:
    """When there is something to do next."""
    (row,) = await run(tx, _NEXT)
    return Next(*row)


async def find_lapsed(tx: Transaction, limit: int) -> list[tuple[str, str]]:
    """Tasks whose lease has lapsed, those that lapsed first, as (task, session); not locked."""
    return [(task, session) for task, session in await run(tx, _LAPSED, limit=limit)]


async def find_due(tx: Transaction, limit: int) -> list[tuple[str, str]]:
    """Tasks and schedules whose moment has come, as (task, session); not locked."""
    return [(task, session) for task, session, _ in await run(tx, _DUE, limit)]


async def still_lapsed(tx: Transaction, task_ids: Sequence[str]) -> list[str]:
    """Those of these whose lease has lapsed; their sessions must be locked."""
    return [row[0] for row in await run(tx, _STILL_LAPSED, json_rows(list(task_ids)))]


async def still_due(tx: Transaction, task_ids: Sequence[str]) -> list[tuple[str, bool]]:
    """Those of these whose moment has come, each with whether it is a schedule; their sessions must be locked."""
    return [(task, schedule) for task, schedule in await run(tx, _STILL_DUE, json_rows(list(task_ids)))]


async def set_due(tx: Transaction, moments: dict[str, datetime]) -> None:
    """Set the next times of schedules."""
    await run(tx, _SET_DUE, json_rows([{"id": task_id, "due": due} for task_id, due in moments.items()]))
