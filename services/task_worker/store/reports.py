"""SQL of what workers report about the tasks they hold: many in one statement."""

from collections.abc import Iterable, Sequence
from typing import LiteralString, NamedTuple

from services.task_worker.store.rows import COLUMNS, SILENT, claimed_task_of, json_rows, rest_of, run, task_of
from services.task_worker.tasks import IN_HAND, LEASE_SECONDS, may_become
from shared.database import Transaction
from shared.messages.task import ClaimedTask, Task, TaskStatus


class Report(NamedTuple):
    """What is reported about a task under a lease; `at` is its place in the batch."""

    at: int
    task_id: str
    lease_token: str
    session_id: str | None
    output_data: str | None = None


def _statuses(statuses: Iterable[TaskStatus]) -> LiteralString:
    return ", ".join(f"'{status}'" for status in sorted(statuses))


# The tasks of reports, as long as they are in hand under the very lease named and their time is not up. By the primary
# key.
_REPORTS: LiteralString = """
    from json_to_recordset(%(reports)s) as report (
        at int, task_id text, lease_token text, session_id text, output_data text
    )
    where tasks.id = report.task_id and tasks.lease_token = report.lease_token
        and (deadline is null or deadline > statement_timestamp())
        and (report.session_id is null or report.session_id = tasks.session_id)
"""

# Done; the lease token stays, to know its holder again. With whether its agent has a limit, which this makes room in.
_COMPLETE: LiteralString = f"""
    update tasks set
        status = 'completed', output_data = report.output_data::json, completed = statement_timestamp(),
        error_message = null, lease_expires = null
    {_REPORTS} and status in ({_statuses(may_become("completed"))})
    returning {COLUMNS}, report.at,
        exists (select from agents where agents.name = tasks.agent_name and max_concurrent > 0)
"""  # noqa: S608

# Begun. No index holds what changes.
_START: LiteralString = f"""
    update tasks set status = 'running', started = statement_timestamp()
    {_REPORTS} and status in ({_statuses(may_become("running"))})
    returning {COLUMNS}, report.at
"""  # noqa: S608

# Kept for as long again, though not beyond its time. With whether it is time to note that its agent was heard of.
_HEARTBEAT: LiteralString = f"""
    update tasks set lease_expires = least(statement_timestamp() + make_interval(secs => %(seconds)s), deadline)
    {_REPORTS} and status in ({_statuses(IN_HAND)})
    returning {COLUMNS}, tasks.lease_token, tasks.lease_expires, report.at,
        exists (select from agents where agents.name = tasks.agent_name and {SILENT})
"""  # noqa: S608


async def complete_tasks(tx: Transaction, reports: Sequence[Report]) -> dict[int, tuple[Task, bool]]:
    """Complete what can be; by `at`: the task, and whether its agent has a limit. Each task may be named once."""
    rows = await run(tx, _COMPLETE, reports=_rows(reports))
    return {rest_of(row)[0]: (task_of(row), rest_of(row)[1]) for row in rows}


async def start_tasks(tx: Transaction, reports: Sequence[Report]) -> dict[int, Task]:
    """Start what can be; the tasks by `at`. Each task may be named once."""
    rows = await run(tx, _START, reports=_rows(reports))
    return {rest_of(row)[0]: task_of(row) for row in rows}


async def extend_leases(tx: Transaction, reports: Sequence[Report]) -> dict[int, tuple[ClaimedTask, bool]]:
    """Extend the leases that hold; by `at`: the task, and whether its agent was silent. Each task may be named once."""
    rows = await run(tx, _HEARTBEAT, reports=_rows(reports), seconds=float(LEASE_SECONDS))
    return {rest_of(row)[2]: (claimed_task_of(row), rest_of(row)[3]) for row in rows}


def _rows(reports: Sequence[Report]) -> object:
    return json_rows([report._asdict() for report in reports])
