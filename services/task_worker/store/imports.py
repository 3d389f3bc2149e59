"""SQL of imported tasks."""

from collections.abc import Sequence
from typing import LiteralString

from services.task_worker.store.rows import json_rows, run
from services.task_worker.tasks import ENDS
from shared.database import Transaction
from shared.messages.task import Task

TASK: LiteralString = """task (
        task_id text, session_id text, agent_name text, task_type text, description text, priority int, status text,
        input_data json, output_data json, error_message text, attempt int, max_attempts int, timeout_s float8,
        depends_on text[], capabilities text[], run_at timestamptz, due timestamptz, cron text, schedule_id text,
        idempotency_key text, callback_url text, claimed_by text, created timestamptz, started timestamptz,
        completed timestamptz
    )"""

# Tasks as they were; those whose id is taken, and those of unknown agents, are left out. What was in hand waits, in no
# queue yet. By task_queues_once and the primary key.
_INSERT: LiteralString = f"""
    insert into tasks (
        id, session_id, agent_name, task_type, description, priority, status, input_data, output_data, error_message,
        attempt, max_attempts, timeout_s, depends_on, capabilities, run_at, due, cron, schedule_id, idempotency_key,
        callback_url, claimed_by, created, queued, started, completed, queue
    )
    select task_id, session_id, agent_name, task_type, description, priority,
        case when status in ('claimed', 'running') then 'pending' else status end,
        input_data, output_data, error_message, attempt, max_attempts, timeout_s, depends_on, capabilities, run_at,
        case when status = 'pending' then due end, cron, schedule_id, idempotency_key, callback_url,
        case when status not in ('claimed', 'running') then claimed_by end, created, created,
        case when status not in ('claimed', 'running') then started end, completed, task_queues.id
    from json_to_recordset(%s) as {TASK} join task_queues using (agent_name, capabilities)
    on conflict do nothing
    returning id, status = 'pending' and due is null
"""  # noqa: S608

# What imported tasks wait for: others of their session, which is locked; by the primary key.
_ADD_DEPENDENCIES: LiteralString = """
    insert into task_dependencies (depends_on, task_id)
    select other.id, tasks.id from tasks, unnest(tasks.depends_on) as dependency (id)
    join tasks as other on other.id = dependency.id
    where tasks.id = any (array(select json_array_elements_text(%s)))
        and other.session_id = tasks.session_id and tasks.status = 'pending' and other.status <> 'completed'
    on conflict do nothing
"""

# Both by the primary keys.
_UNKNOWN: LiteralString = """
    select name from json_array_elements_text(%s) as asked (name)
    where not exists (select from agents where agents.name = asked.name) limit 1
"""
_ELSEWHERE: LiteralString = """
    select id from tasks
    where id = any (array(select json_array_elements_text(%s))) and session_id <> %s limit 1
"""

# What JSON says, however it is written: spaces and the order of keys are those of whoever sends it.
_SHOWN: LiteralString = "nullif({}::jsonb, 'null')"
_INPUT: LiteralString = f"{_SHOWN.format('kept.input_data')} is distinct from {_SHOWN.format('task.input_data')}"
_OUTPUT: LiteralString = f"{_SHOWN.format('kept.output_data')} is distinct from {_SHOWN.format('task.output_data')}"
# Tasks that are there and are others: what was asked for differs, or how one has ended. One that has gone on since is
# the same, and so is one that comes without its callback. And those whose idempotency key stands for another task. By
# the primary key and tasks_once.
_DIFFERENT: LiteralString = f"""
    with task as materialized (select * from json_to_recordset(%s) as {TASK})
    select task_id from task join tasks as kept on kept.id = task.task_id
    where (
            kept.agent_name, kept.task_type, kept.description, kept.priority, kept.max_attempts, kept.timeout_s,
            kept.depends_on, kept.capabilities, kept.run_at, kept.cron, kept.schedule_id, kept.idempotency_key,
            kept.created, kept.callback_url
        ) is distinct from (
            task.agent_name, task.task_type, task.description, task.priority, task.max_attempts, task.timeout_s,
            task.depends_on, task.capabilities, task.run_at, task.cron, task.schedule_id, task.idempotency_key,
            task.created, coalesce(task.callback_url, kept.callback_url)
        )
        or {_INPUT}
        or task.status in ({", ".join(f"'{status}'" for status in sorted(ENDS))}) and (
            (kept.status, kept.error_message, kept.attempt, kept.claimed_by, kept.started, kept.completed)
                is distinct from
                (task.status, task.error_message, task.attempt, task.claimed_by, task.started, task.completed)
            or {_OUTPUT}
        )
    union all
    select task_id from task join tasks as kept using (session_id, agent_name, idempotency_key)
    where kept.id <> task.task_id
    limit 1
"""  # noqa: S608


async def insert_tasks(tx: Transaction, tasks: Sequence[Task]) -> dict[str, bool]:
    """Write tasks as they were; those that were not there, each with whether it waits for no moment."""
    return dict(await run(tx, _INSERT, json_rows(tasks)))


async def add_dependencies(tx: Transaction, task_ids: Sequence[str]) -> None:
    """Let imported tasks wait for those they depend on."""
    await run(tx, _ADD_DEPENDENCIES, json_rows(list(task_ids)))


async def find_unknown(tx: Transaction, agent_names: Sequence[str]) -> str | None:
    """One of these agents that is not registered, if any."""
    rows = await run(tx, _UNKNOWN, json_rows(list(agent_names)))
    return rows[0][0] if rows else None


async def find_elsewhere(tx: Transaction, session_id: str, task_ids: Sequence[str]) -> str | None:
    """One of these tasks that another session has, if any."""
    rows = await run(tx, _ELSEWHERE, json_rows(list(task_ids)), session_id)
    return rows[0][0] if rows else None


async def find_different(tx: Transaction, tasks: Sequence[Task]) -> str | None:
    """One of these tasks in whose place there is another, if any: under its id, or its idempotency key."""
    rows = await run(tx, _DIFFERENT, json_rows(tasks))
    return rows[0][0] if rows else None
