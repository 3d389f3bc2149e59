"""Every SQL statement of the task worker."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import namedtuple_row
from sqlalchemy import text

from services.task_worker.tasks import LEASE_SECONDS, Agent, Held
from shared.database import Transaction, psycopg_of
from shared.messages import JsonText, encode, rfc3339
from shared.messages.task import ClaimedTask, DelegateTask, Task, TaskStatus

_COLUMNS: LiteralString = """
    id, session_id, agent_name, task_type, description, priority, status, input_data::text as input_data,
    output_data::text as output_data, error_message, attempt, max_attempts, claimed_by, created, started, completed
"""

# A new task; nothing when its agent is not registered. Each has a moment of its own, so that a queue keeps the order of
# a batch. By the primary key of agents; the row also goes into tasks_queue, tasks_by_session and tasks_newest.
_INSERT = text(f"""
    insert into tasks
        (id, session_id, agent_name, task_type, description, priority, input_data, max_attempts, created)
    select :id, :session_id, name, :task_type, :description, :priority, cast(:input_data as json), :max_attempts,
        clock_timestamp()
    from agents where name = :agent_name
    returning {_COLUMNS}
""")  # noqa: S608

_FIND_AGENT = text("select name, max_concurrent from agents where name = :name")
_AGENT_NAMES = text("select name from agents order by name limit 100")

# An agent with a limit, so that claims for it take turns, and then what it has in hand, seen after the wait. By the
# primary key of agents; by tasks_leases, which holds only what is in hand.
_LOCK_AGENT = text("select 1 from agents where name = :name for no key update")
_COUNT_IN_HAND = text("select count(*) from tasks where agent_name = :name and status in ('claimed', 'running')")

# The head of an agent's queue, whatever others are claiming just now left out, leased in the same statement. By
# tasks_queue alone, however many tasks wait.
_CLAIM: LiteralString = f"""
    with head as materialized (
        select id from tasks where agent_name = %(agent_name)s and status = 'pending'
        order by priority desc, created limit %(count)s
        for update skip locked
    ), numbered as (
        select id as task_id, row_number() over () as number from head
    )
    update tasks set
        status = 'claimed', claimed_by = %(worker_id)s, attempt = attempt + 1, started = statement_timestamp(),
        lease_token = (cast(%(tokens)s as text[]))[number],
        lease_expires = statement_timestamp() + make_interval(secs => %(seconds)s)
    from numbered where id = task_id
    returning {_COLUMNS}, lease_token, lease_expires
"""  # noqa: S608

# A task to be changed, by the primary key.
_LOCK = text(f"select {_COLUMNS}, lease_token, clock_timestamp() as at from tasks where id = :id for update")  # noqa: S608

# A task is done; its lease token stays, to know its holder again. By the primary key.
_SAVE_COMPLETED = text("""
    update tasks set
        status = :status, output_data = cast(:output_data as json), completed = cast(:completed as timestamptz),
        lease_expires = null
    where id = :id
""")

# Tasks whose lease has lapsed, those that lapsed first, whatever is being changed just now left out. By tasks_leases.
_LOCK_LAPSED: LiteralString = f"""
    select {_COLUMNS}, lease_token, clock_timestamp() as at from tasks
    where status in ('claimed', 'running') and lease_expires < statement_timestamp()
    order by lease_expires limit %(limit)s
    for update skip locked
"""  # noqa: S608

# Tasks taken back, with the lease nobody holds any more; by the primary key.
_SAVE_LAPSED: LiteralString = """
    update tasks set
        status = lapsed.status, claimed_by = lapsed.claimed_by, started = lapsed.started, completed = lapsed.completed,
        error_message = lapsed.error_message, lease_token = null, lease_expires = null
    from json_to_recordset(cast(%(tasks)s as json)) as lapsed (
        task_id text, status text, claimed_by text, started timestamptz, completed timestamptz, error_message text
    )
    where tasks.id = lapsed.task_id
"""

# A task to be looked at, by the primary key.
_FIND = text(f"select {_COLUMNS} from tasks where id = :id")  # noqa: S608


class Filter(NamedTuple):
    """Which tasks are asked for; None: any."""

    session_id: str | None
    agent_name: str | None
    status: TaskStatus | None


async def insert_task(tx: Transaction, task_id: str, asked: DelegateTask) -> Task | None:
    """Put a new task into its agent's queue; None when the agent is not registered."""
    values = {**asked.__dict__, "id": task_id, "input_data": _json(asked.input_data)}
    row = (await tx.execute(_INSERT, values)).one_or_none()
    return _task(row) if row else None


async def find_agent(tx: Transaction, name: str) -> Agent | None:
    """A registered agent; None when there is none of this name."""
    row = (await tx.execute(_FIND_AGENT, {"name": name})).one_or_none()
    return Agent(row.name, row.max_concurrent) if row else None


async def agent_names(tx: Transaction) -> list[str]:
    """The names of the registered agents, the first hundred."""
    return list((await tx.execute(_AGENT_NAMES)).scalars())


async def count_in_hand(tx: Transaction, agent_name: str) -> int:
    """How many of an agent's tasks are claimed or running; no other claim for it goes on until the transaction ends."""
    await tx.execute(_LOCK_AGENT, {"name": agent_name})
    count: int = (await tx.execute(_COUNT_IN_HAND, {"name": agent_name})).scalar_one()
    return count


async def claim_tasks(tx: Transaction, agent_name: str, worker_id: str, tokens: list[str]) -> list[ClaimedTask]:
    """Claim up to one task for each token from an agent's queue; the claimed ones in the queue's order."""
    values = {
        "agent_name": agent_name,
        "worker_id": worker_id,
        "tokens": tokens,
        "count": len(tokens),
        "seconds": LEASE_SECONDS,
    }
    rows = await _planned_now(tx, _CLAIM, values)
    rows.sort(key=lambda row: (-row.priority, row.created))
    return [
        ClaimedTask(**_fields(row), lease_token=row.lease_token, lease_expires=rfc3339(row.lease_expires))
        for row in rows
    ]


async def lock_task(tx: Transaction, task_id: str) -> Held | None:
    """A task, locked until the transaction ends; None when there is none."""
    row = (await tx.execute(_LOCK, {"id": task_id})).one_or_none()
    return _held(row) if row else None


async def save_completed(tx: Transaction, task: Task) -> None:
    """Write what a completed task has come to."""
    values = {"id": task.task_id, "status": task.status, "completed": task.completed}
    await tx.execute(_SAVE_COMPLETED, {**values, "output_data": _json(task.output_data)})


async def lock_lapsed(tx: Transaction, limit: int) -> list[Held]:
    """Tasks whose lease has lapsed, locked until the transaction ends."""
    return [_held(row) for row in await _planned_now(tx, _LOCK_LAPSED, {"limit": limit})]


async def save_lapsed(tx: Transaction, tasks: Sequence[Task]) -> None:
    """Write what has become of tasks whose lease has lapsed."""
    fields = ("task_id", "status", "claimed_by", "started", "completed", "error_message")
    rows = encode([{name: getattr(task, name) for name in fields} for task in tasks])
    await _planned_now(tx, _SAVE_LAPSED, {"tasks": rows.decode()})


async def find_task(tx: Transaction, task_id: str) -> Task | None:
    """The task as it is now; None when there is none."""
    row = (await tx.execute(_FIND, {"id": task_id})).one_or_none()
    return _task(row) if row else None


async def list_tasks(tx: Transaction, wanted: Filter, after: tuple[datetime, str] | None, limit: int) -> list[Task]:
    """Up to `limit` tasks after a sort key, the newest first; by tasks_by_session or tasks_newest."""
    created, identifier = after or (None, None)
    values = {**wanted._asdict(), "created": created, "id": identifier, "limit": limit}
    conditions = [f"{name} = :{name}" for name, value in wanted._asdict().items() if value is not None]
    if after is not None:
        conditions.append("(created, id) < (:created, :id)")
    where = f"where {' and '.join(conditions)}" if conditions else ""
    statement = f"select {_COLUMNS} from tasks {where} order by created desc, id desc limit :limit"  # noqa: S608
    return [_task(row) for row in await tx.execute(text(statement), values)]


async def _planned_now(tx: Transaction, statement: LiteralString, values: dict[str, Any]) -> list[Any]:
    """Run a statement planned for the tables as they are now, straight through psycopg; its rows, if it has any.

    A plan kept from when the queue was short reads and sorts the whole of it, until the table is next analyzed.
    """
    connection = await psycopg_of(tx)
    async with connection.cursor(row_factory=namedtuple_row) as cursor:
        await cursor.execute(statement, values, prepare=False)
        return await cursor.fetchall() if cursor.description else []


def _held(row: Any) -> Held:
    return Held(_task(row), row.lease_token, rfc3339(row.at))


def _task(row: Any) -> Task:
    return Task(**_fields(row))


def _fields(row: Any) -> dict[str, Any]:
    return {
        "task_id": row.id,
        "session_id": row.session_id,
        "agent_name": row.agent_name,
        "task_type": row.task_type,
        "description": row.description,
        "priority": row.priority,
        "status": row.status,
        "input_data": _json_text(row.input_data),
        "output_data": _json_text(row.output_data),
        "error_message": row.error_message,
        "attempt": row.attempt,
        "max_attempts": row.max_attempts,
        "claimed_by": row.claimed_by,
        "created": rfc3339(row.created),
        "started": rfc3339(row.started) if row.started else None,
        "completed": rfc3339(row.completed) if row.completed else None,
    }


def _json(value: JsonText | None) -> str | None:
    return None if value is None else str(value)


def _json_text(value: str | None) -> JsonText | None:
    return None if value is None else JsonText(value.encode())
