"""SQL of control requests and their answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from services.task_worker.store.rows import run
from shared.database import Transaction
from shared.messages import JsonText, rfc3339
from shared.messages.runs_control import Control

_COLUMNS: LiteralString = """
    c.control_id, c.run_id, r.agent_name, c.action, c.asked_by, c.result::text, c.error, c.asked, c.answered
"""

# One request; by the primary keys.
_FIND: LiteralString = f"""
    select {_COLUMNS} from agent_controls as c join agent_runs as r on r.run_id = c.run_id where c.control_id = %s
"""  # noqa: S608

# The last requests about a run; by agent_controls_of_run.
_OF_RUN: LiteralString = f"""
    select {_COLUMNS} from agent_controls as c join agent_runs as r on r.run_id = c.run_id
    where c.run_id = %s order by c.asked desc limit 50
"""  # noqa: S608

# A request is made once, however often it is told. By the primary key.
_ASK: LiteralString = """
    insert into agent_controls (control_id, run_id, action, asked_by) values (%s, %s, %s, %s)
    on conflict do nothing returning asked
"""

# By the primary keys.
_ANSWER: LiteralString = f"""
    update agent_controls as c set result = %(result)s::json, error = %(error)s, answered = now()
    from agent_runs as r where c.control_id = %(control_id)s and r.run_id = c.run_id
    returning {_COLUMNS}
"""  # noqa: S608


async def now(tx: Transaction) -> datetime:
    """This moment, by the database's clock."""
    ((moment,),) = await run(tx, "select clock_timestamp()")
    assert isinstance(moment, datetime)
    return moment


async def find_control(tx: Transaction, control_id: str) -> Control | None:
    """A request as it is now; None when it was not made (yet)."""
    rows = await run(tx, _FIND, control_id)
    return _control_of(rows[0]) if rows else None


async def controls_of(tx: Transaction, run_id: str) -> list[Control]:
    """The last 50 requests about a run, the newest first."""
    return [_control_of(row) for row in await run(tx, _OF_RUN, run_id)]


async def ask(tx: Transaction, control_id: str, run_id: str, action: str, asked_by: str) -> datetime | None:
    """Keep a request; None when it was kept before."""
    rows = await run(tx, _ASK, control_id, run_id, action, asked_by)
    return rows[0][0] if rows else None


async def answer(tx: Transaction, control_id: str, result: JsonText | None, error: str | None) -> Control:
    """Keep what a runner has answered."""
    text = None if result is None else str(result)
    (row,) = await run(tx, _ANSWER, control_id=control_id, result=text, error=error)
    return _control_of(row)


def _control_of(row: Sequence[Any]) -> Control:
    control_id, run_id, agent_name, action, asked_by, result, error, asked, answered = row
    return Control(
        control_id=control_id,
        run_id=run_id,
        agent_name=agent_name,
        action=action,
        status="asked" if answered is None else "done" if error is None else "refused",
        asked_by=asked_by,
        result=None if result is None else JsonText(result.encode()),
        error=error,
        asked=rfc3339(asked),
        answered=None if answered is None else rfc3339(answered),
    )
