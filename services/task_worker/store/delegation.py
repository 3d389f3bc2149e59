"""SQL of new tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, NamedTuple

from services.task_worker.store.queues import TURNS
from services.task_worker.store.rows import COLUMNS, json_rows, rest_of, run, task_of
from shared.database import Transaction
from shared.messages.task import Task, TaskStatus


@dataclass(slots=True)
class Draft:
    """A task to be put into a queue; its fields are those of the statement that does it.

    Not frozen: to set twenty fields the long way would cost a tenth of a delegation.
    """

    at: int
    id: str
    session_id: str
    agent_name: str
    task_type: str
    description: str | None
    priority: int
    # JSON as text, else a string's escapes would be written anew.
    input_data: str | None
    max_attempts: int
    timeout_s: float | None
    run_at: datetime | None
    due: datetime | None
    cron: str | None
    schedule_id: str | None
    capabilities: list[str]
    depends_on: list[str]
    idempotency_key: str | None
    fingerprint: str | None
    callback_url: str | None
    # Nothing to wait for.
    claimable: bool


class Once(NamedTuple):
    """What an idempotency key stands for within its session and agent."""

    session_id: str
    agent_name: str
    key: str


# New tasks; those whose queue there is not are left out. A microsecond apart, so that lists by time have them in their
# order. By task_queues_once; each row also goes into tasks_queue, tasks_turns, tasks_by_session and tasks_newest.
_INSERT: LiteralString = f"""
    with asked as materialized (
        select * from json_to_recordset(%s) as draft (
            at int, id text, session_id text, agent_name text, task_type text, description text, priority int,
            input_data text, max_attempts int, timeout_s float8, run_at timestamptz, due timestamptz, cron text,
            schedule_id text, capabilities text[], depends_on text[], idempotency_key text, fingerprint text,
            callback_url text, claimable boolean
        )
    ), entering as materialized (
        select asked.*, task_queues.id as queue,
            row_number() over (partition by task_queues.id, priority, session_id, claimable order by at) - 1 as behind
        from asked join task_queues using (agent_name, capabilities)
    ), {TURNS}
    insert into tasks (
        id, session_id, agent_name, task_type, description, priority, input_data, max_attempts, timeout_s, run_at, due,
        cron, schedule_id, capabilities, depends_on, idempotency_key, fingerprint, callback_url, claimable, queue,
        turn, queued, created
    )
    select id, session_id, agent_name, task_type, description, priority, input_data::json, max_attempts, timeout_s,
        run_at, due, cron, schedule_id, capabilities, depends_on, idempotency_key, decode(fingerprint, 'hex'),
        callback_url, claimable, queue, case when claimable then turns.turn + behind else 0 end, moment, moment
    from entering left join turns using (queue, priority, session_id),
        lateral (select statement_timestamp() + at * interval '1 microsecond') as now (moment)
    returning id, created
"""  # noqa: S608

# Tasks by their idempotency keys; by tasks_once.
_FIND_ONCE: LiteralString = f"""
    select {COLUMNS}, tasks.fingerprint
    from json_to_recordset(%s) as once (session_id text, agent_name text, key text)
    join tasks on tasks.session_id = once.session_id and tasks.agent_name = once.agent_name
        and tasks.idempotency_key = once.key
"""  # noqa: S608

# Tasks that others want to depend on; by the primary key.
_FIND_DEPENDENCIES: LiteralString = """
    select id, session_id, status, error_message, cron is not null from tasks
    where id = any (array(select json_array_elements_text(%s)))
"""

_ADD_DEPENDENCIES: LiteralString = """
    insert into task_dependencies (depends_on, task_id)
    select depends_on, task_id from json_to_recordset(%s) as waits (depends_on text, task_id text)
    on conflict do nothing
"""


class Dependency(NamedTuple):
    """A task that others depend on, as it is."""

    task_id: str
    session_id: str
    status: TaskStatus
    error_message: str | None
    is_schedule: bool


async def insert_tasks(tx: Transaction, drafts: Sequence[Draft]) -> dict[str, datetime]:
    """Put new tasks into their queues; returns the moments of those whose queue there was. Sessions must be locked."""
    return dict(await run(tx, _INSERT, json_rows(drafts)))


async def find_once(tx: Transaction, keys: Sequence[Once]) -> dict[Once, tuple[Task, bytes | None]]:
    """The tasks that stand under idempotency keys, with the fingerprint of what was asked for."""
    rows = await run(tx, _FIND_ONCE, json_rows([key._asdict() for key in keys]))
    found = [(task_of(row), rest_of(row)[0]) for row in rows]
    return {
        Once(task.session_id, task.agent_name, task.idempotency_key or ""): (task, fingerprint)
        for task, fingerprint in found
    }


async def find_dependencies(tx: Transaction, task_ids: Sequence[str]) -> dict[str, Dependency]:
    """Those of these tasks that exist."""
    rows = await run(tx, _FIND_DEPENDENCIES, json_rows(list(task_ids)))
    return {row[0]: Dependency(*row) for row in rows}


async def add_dependencies(tx: Transaction, waits: Sequence[tuple[str, str]]) -> None:
    """Note that tasks wait for others, as (depends on, task)."""
    await run(tx, _ADD_DEPENDENCIES, json_rows([{"depends_on": on, "task_id": task} for on, task in waits]))
