"""SQL of single changes: tasks locked, decided about in Python, and saved."""

from collections.abc import Sequence
from typing import LiteralString

from services.task_worker.store.rows import COLUMNS, json_rows, rest_of, run, task_of
from services.task_worker.tasks import Held
from shared.database import Transaction
from shared.messages.task import Task

# The sessions of tasks; by the primary key.
_FIND_SESSIONS: LiteralString = """
    select distinct session_id from tasks where id = any (array(select json_array_elements_text(%s)))
"""

# Tasks to be changed, by the primary key; what a claim takes just now is not waited for, since it will wait for the
# session. Where that is so, the second column is false.
_LOCK: LiteralString = f"""
    select {COLUMNS}, tasks.lease_token, tasks.deadline, clock_timestamp() from tasks
    where tasks.id = any (array(select json_array_elements_text(%s)))
    for update of tasks skip locked
"""  # noqa: S608

# Tasks to be looked at, with their leases; by the primary key.
_LOOK: LiteralString = f"""
    select {COLUMNS}, tasks.lease_token, tasks.deadline, clock_timestamp() from tasks
    where tasks.id = any (array(select json_array_elements_text(%s)))
"""  # noqa: S608

# What tasks have become that are in nobody's hands any more, and in no queue; by the primary key. The lease token stays
# with what has ended.
_SAVE: LiteralString = """
    update tasks set
        status = moved.status, attempt = moved.attempt, claimed_by = moved.claimed_by, started = moved.started,
        completed = moved.completed, error_message = moved.error_message, due = moved.due,
        claimable = false, lease_expires = null, deadline = null,
        lease_token = case when moved.status = 'pending' then null else lease_token end
    from json_to_recordset(%s) as moved (
        task_id text, status text, attempt int, claimed_by text, started timestamptz, completed timestamptz,
        error_message text, due timestamptz
    )
    where tasks.id = moved.task_id
"""
_SAVED = ("task_id", "status", "attempt", "claimed_by", "started", "completed", "error_message", "due")

# Who waits for tasks that have ended, each as (ended, waiting); by the primary key of task_dependencies.
_TAKE_DEPENDANTS: LiteralString = """
    delete from task_dependencies where depends_on = any (array(select json_array_elements_text(%s)))
    returning depends_on, task_id
"""
# A task that has ended waits for nothing; by task_dependencies_by_task.
_FORGET_DEPENDENCIES: LiteralString = """
    delete from task_dependencies where task_id = any (array(select json_array_elements_text(%s)))
"""

# Which of these agents have a limit; by the primary key.
_LIMITED: LiteralString = """
    select name from agents where name = any (array(select json_array_elements_text(%s))) and max_concurrent > 0
"""


# Where the callbacks of tasks go; by the primary key.
_FIND_TARGETS: LiteralString = """
    select id, callback_url from tasks
    where id = any (array(select json_array_elements_text(%s))) and callback_url is not null
"""


async def find_sessions(tx: Transaction, task_ids: Sequence[str]) -> set[str]:
    """The sessions of those of these tasks that exist."""
    return {row[0] for row in await run(tx, _FIND_SESSIONS, json_rows(list(task_ids)))}


async def lock_tasks(tx: Transaction, task_ids: Sequence[str]) -> dict[str, Held]:
    """Lock tasks until the transaction ends; those that a claim has locked are left out, as are unknown ones."""
    return _held(await run(tx, _LOCK, json_rows(list(task_ids))))


async def look_at_tasks(tx: Transaction, task_ids: Sequence[str]) -> dict[str, Held]:
    """Tasks as they are, without locking them."""
    return _held(await run(tx, _LOOK, json_rows(list(task_ids))))


async def save_tasks(tx: Transaction, tasks: Sequence[Task]) -> None:
    """Write what has become of tasks that are in nobody's hands any more."""
    await run(tx, _SAVE, json_rows([{name: getattr(task, name) for name in _SAVED} for task in tasks]))


async def find_targets(tx: Transaction, tasks: Sequence[Task]) -> dict[str, str]:
    """The whole URLs to which these tasks call back, by task; a `Task` itself says only their hosts."""
    asked = [task.task_id for task in tasks if task.callback_url is not None]
    return dict(await run(tx, _FIND_TARGETS, json_rows(asked))) if asked else {}


async def take_dependants(tx: Transaction, ended: Sequence[str]) -> list[tuple[str, str]]:
    """Who waited for tasks that have ended, as (ended, waiting); they wait for those no more."""
    return [(on, task) for on, task in await run(tx, _TAKE_DEPENDANTS, json_rows(list(ended)))]


async def forget_dependencies(tx: Transaction, task_ids: Sequence[str]) -> None:
    """These tasks wait for no other any more."""
    await run(tx, _FORGET_DEPENDENCIES, json_rows(list(task_ids)))


async def limited_agents(tx: Transaction, names: Sequence[str]) -> set[str]:
    """Those of these agents that have a limit."""
    return {row[0] for row in await run(tx, _LIMITED, json_rows(list(names)))}


def _held(rows: Sequence[Sequence[object]]) -> dict[str, Held]:
    return {(task := task_of(row)).task_id: Held(task, *rest_of(row)) for row in rows}
