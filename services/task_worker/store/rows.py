"""Tasks as rows: the columns that make one, and how statements are run."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Json

from services.task_worker.tasks import shown_target
from shared.database import Transaction, psycopg_of
from shared.messages import JsonText, encode, rfc3339
from shared.messages.task import ClaimedTask, Task

# What makes a `Task`, in this order; statements may append more.
COLUMNS: LiteralString = """
    tasks.id, tasks.session_id, tasks.agent_name, tasks.task_type, tasks.description, tasks.priority, tasks.status,
    tasks.input_data::text, tasks.output_data::text, tasks.error_message, tasks.attempt, tasks.max_attempts,
    tasks.timeout_s, tasks.depends_on, tasks.capabilities, tasks.run_at, tasks.due, tasks.cron, tasks.schedule_id,
    tasks.idempotency_key, tasks.callback_url, tasks.claimed_by, tasks.created, tasks.started, tasks.completed
"""
# Of an agent: that it was last noted to be heard of long enough ago to note it again. A claim need not write each time.
SILENT: LiteralString = (
    "(agents.last_heartbeat is null or agents.last_heartbeat < statement_timestamp() - interval '10 seconds')"
)
_COUNT = COLUMNS.count(",") + 1


def task_of(row: Sequence[Any]) -> Task:
    """The task of a row that begins with `COLUMNS`; of its callback's URL, what anybody may see."""
    return Task.trusted(_fields(row))


def claimed_task_of(row: Sequence[Any]) -> ClaimedTask:
    """The task and its lease of a row of `COLUMNS`, lease_token and lease_expires."""
    fields = _fields(row)
    fields["lease_token"] = row[_COUNT]
    fields["lease_expires"] = rfc3339(row[_COUNT + 1])
    return ClaimedTask.trusted(fields)


def rest_of(row: Sequence[Any]) -> Sequence[Any]:
    """What a statement has appended to `COLUMNS`."""
    return row[_COUNT:]


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    return {
        "task_id": row[0],
        "session_id": row[1],
        "agent_name": row[2],
        "task_type": row[3],
        "description": row[4],
        "priority": row[5],
        "status": row[6],
        "input_data": _json_text(row[7]),
        "output_data": _json_text(row[8]),
        "error_message": row[9],
        "attempt": row[10],
        "max_attempts": row[11],
        "timeout_s": row[12],
        "depends_on": row[13],
        "capabilities": row[14],
        "run_at": _moment(row[15]),
        "due": _moment(row[16]),
        "cron": row[17],
        "schedule_id": row[18],
        "idempotency_key": row[19],
        "callback_url": None if row[20] is None else shown_target(row[20]),
        "claimed_by": row[21],
        "created": rfc3339(row[22]),
        "started": _moment(row[23]),
        "completed": _moment(row[24]),
    }


def _json_text(value: str | None) -> JsonText | None:
    return None if value is None else JsonText(value.encode())


def _moment(value: datetime | None) -> str | None:
    return None if value is None else rfc3339(value)


async def run(tx: Transaction, statement: LiteralString, *values: Any, **named: Any) -> list[Any]:
    """Run a statement straight through psycopg, where SQLAlchemy would add 75 µs; its rows, if it has any."""
    cursor = await (await psycopg_of(tx)).execute(statement, named or values)
    return await cursor.fetchall() if cursor.description else []


def json_rows(values: Any) -> Json:
    """Values as one JSON parameter: psycopg writes arrays in Python, at eight times the price."""
    return Json(values, dumps=encode)
