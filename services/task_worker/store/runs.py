"""SQL of runs: their rows, their states, and who is silent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from services.task_worker.runs.rules import GONE_SECONDS, SILENT_SECONDS, TaskNow
from services.task_worker.store.rows import json_rows, run
from shared.database import Transaction
from shared.messages import JsonText, rfc3339
from shared.messages.runs import Run, Usage
from shared.messages.runs_reading import RunTransition

# What makes a `Run`, in this order; statements may append more.
COLUMNS: LiteralString = """
    r.run_id, r.name, r.agent_name, r.session_id, r.task_id, r.attempt, r.worker_id, r.command, r.recipe, r.state,
    r.cause, r.pid, r.exit_code, r.signal, r.lines, r.bytes, r.lines_given, r.input_tokens, r.output_tokens, r.cost_usd,
    r.result::text, r.error, r.started, r.heard, r.ended
"""
COUNT = COLUMNS.count(",") + 1
IS_LIVE: LiteralString = "r.state in ('starting', 'running', 'paused', 'waiting_input')"

# One run; by the primary key.
_FIND: LiteralString = f"select {COLUMNS} from agent_runs as r where r.run_id = %s"  # noqa: S608
_LOCK: LiteralString = f"""
    select {COLUMNS}, clock_timestamp() from agent_runs as r where r.run_id = %s for no key update
"""  # noqa: S608

# The live runs of an agent; by agent_runs_live.
_LIVE_OF_AGENT: LiteralString = f"""
    select {COLUMNS} from agent_runs as r where r.agent_name = %s and {IS_LIVE} order by r.started limit 20
"""  # noqa: S608

# The sessions of runs, and of the live runs of agents; by the primary key and agent_runs_live.
_SESSIONS: LiteralString = f"""
    select session_id from agent_runs where run_id = any (array(select json_array_elements_text(%s)))
    union
    select r.session_id from agent_runs as r
    where r.agent_name = any (array(select json_array_elements_text(%s))) and {IS_LIVE}
"""  # noqa: S608

_CREATE: LiteralString = """
    with made as (
        insert into agent_runs (
            run_id, name, agent_name, session_id, task_id, attempt, worker_id, command, recipe, state, cause, pid,
            exit_code, signal, lines_given, input_tokens, output_tokens, cost_usd, result, error, started, heard, ended
        ) values (
            %(run_id)s, %(name)s, %(agent_name)s, %(session_id)s, %(task_id)s, %(attempt)s, %(worker_id)s, %(command)s,
            %(recipe)s, %(state)s, %(cause)s, %(pid)s, %(exit_code)s, %(signal)s, %(lines_given)s, %(input_tokens)s,
            %(output_tokens)s, %(cost_usd)s, %(result)s::json, %(error)s, %(started)s::timestamptz,
            %(heard)s::timestamptz, %(ended)s::timestamptz
        )
        returning run_id
    )
    insert into extraction_states (run_id) select run_id from made
"""

# What a report has made of a run; by the primary key. That it was heard of is no index's affair.
_SAVE: LiteralString = """
    update agent_runs set
        task_id = %(task_id)s, attempt = %(attempt)s, worker_id = %(worker_id)s, command = %(command)s,
        recipe = %(recipe)s, state = %(state)s, cause = %(cause)s, pid = %(pid)s, exit_code = %(exit_code)s,
        signal = %(signal)s, lines_given = %(lines_given)s, input_tokens = %(input_tokens)s,
        output_tokens = %(output_tokens)s, cost_usd = %(cost_usd)s, result = %(result)s::json, error = %(error)s,
        heard = %(heard)s::timestamptz, ended = %(ended)s::timestamptz
    where run_id = %(run_id)s
"""

# The next transition of a run; by the primary key.
_ADD_STATE: LiteralString = """
    insert into agent_run_states (run_id, number, was, state, cause, reported_by, at)
    select %(run_id)s, coalesce(max(number), 0) + 1, %(was)s, %(state)s, %(cause)s, %(by)s, %(at)s::timestamptz
    from agent_run_states where run_id = %(run_id)s
"""
_STATES: LiteralString = """
    select was, state, cause, reported_by, at from agent_run_states where run_id = %s order by number
"""
_LAST_WAS: LiteralString = "select was from agent_run_states where run_id = %s order by number desc limit 1"

# A run that has ended has something to be looked through to the last; by the primary key.
_END_EXTRACTION: LiteralString = """
    update extraction_states set since = least(since, now()) where run_id = %s
"""

# A lost run is looked through to the last when its runner stays away; by the primary key, under the locks of the runs.
_END_EXTRACTIONS_LATER: LiteralString = """
    update extraction_states as x set since = least(x.since, r.heard + make_interval(secs => %s))
    from agent_runs as r
    where x.run_id = any (array(select json_array_elements_text(%s))) and r.run_id = x.run_id
"""

# A task as far as its run has to know; by the primary key.
_TASK: LiteralString = "select status, attempt, claimed_by from tasks where id = %s"

# The status of a session, which the session worker owns; by the primary key.
_SESSION: LiteralString = "select status from sessions where id = %s"

# Live runs that were not heard of for a while, those first that have been silent longest, with their sessions; by
# agent_runs_live, all of it: as many as there are processes under way.
_SILENT: LiteralString = f"""
    select r.run_id, r.session_id from agent_runs as r
    where {IS_LIVE} and r.heard < statement_timestamp() - make_interval(secs => %s)
    order by r.heard limit %s
"""  # noqa: S608
_IS_ANY_SILENT: LiteralString = f"""
    select exists (
        select from agent_runs as r
        where {IS_LIVE} and r.heard < statement_timestamp() - make_interval(secs => %s)
    )
"""  # noqa: S608
_LOCK_SILENT: LiteralString = f"""
    select {COLUMNS}, clock_timestamp() from agent_runs as r
    where r.run_id = any (array(select json_array_elements_text(%s)))
        and {IS_LIVE} and r.heard < statement_timestamp() - make_interval(secs => %s)
    order by r.run_id for no key update
"""  # noqa: S608


class Locked(NamedTuple):
    """A run locked for a change, and the moment of the change."""

    run: Run
    at: datetime


async def find_run(tx: Transaction, run_id: str) -> Run | None:
    """The run as it is now; None when there is none."""
    rows = await run(tx, _FIND, run_id)
    return run_of(rows[0]) if rows else None


async def lock_run(tx: Transaction, run_id: str) -> Locked | None:
    """The run, which nobody else changes until the transaction ends; its session must be locked."""
    rows = await run(tx, _LOCK, run_id)
    return Locked(run_of(rows[0]), rows[0][COUNT]) if rows else None


async def live_runs(tx: Transaction, agent_name: str) -> list[Run]:
    """The live runs of an agent, the oldest first, up to 20."""
    return [run_of(row) for row in await run(tx, _LIVE_OF_AGENT, agent_name)]


async def find_sessions(tx: Transaction, run_ids: Sequence[str], agent_names: Sequence[str]) -> set[str]:
    """The sessions of these runs, and of the live runs of these agents."""
    return {row[0] for row in await run(tx, _SESSIONS, json_rows(list(run_ids)), json_rows(list(agent_names)))}


async def create_run(tx: Transaction, made: Run) -> None:
    """Keep a new run."""
    await run(tx, _CREATE, **_values(made))


async def save_run(tx: Transaction, changed: Run) -> None:
    """Keep what a report has made of a run; its lines are counted elsewhere."""
    await run(tx, _SAVE, **_values(changed))


async def add_state(tx: Transaction, run_id: str, transition: RunTransition) -> None:
    """Keep a transition."""
    await run(tx, _ADD_STATE, run_id=run_id, **transition.__dict__)


async def find_states(tx: Transaction, run_id: str) -> list[RunTransition]:
    """Every transition of a run, in their order."""
    return [
        RunTransition(was=was, state=state, cause=cause, by=by, at=rfc3339(at))
        for was, state, cause, by, at in await run(tx, _STATES, run_id)
    ]


async def last_state_was(tx: Transaction, run_id: str) -> Any:
    """The state a run was in before its last transition."""
    rows = await run(tx, _LAST_WAS, run_id)
    return rows[0][0] if rows else None


async def end_extraction(tx: Transaction, run_id: str) -> None:
    """Let the lines of a run that has ended be looked through to the last."""
    await run(tx, _END_EXTRACTION, run_id)


async def end_extractions_later(tx: Transaction, run_ids: Sequence[str]) -> None:
    """Let the lines of lost runs be looked through to the last, unless their runners come back in time."""
    await run(tx, _END_EXTRACTIONS_LATER, float(GONE_SECONDS), json_rows(list(run_ids)))


async def find_task(tx: Transaction, task_id: str) -> TaskNow | None:
    """A run's task as it is now."""
    rows = await run(tx, _TASK, task_id)
    return TaskNow(*rows[0]) if rows else None


async def session_status(tx: Transaction, session_id: str) -> str | None:
    """The status of a session; None when there is none."""
    rows = await run(tx, _SESSION, session_id)
    return rows[0][0] if rows else None


async def is_any_silent(tx: Transaction) -> bool:
    """Whether a live run was not heard of for too long."""
    ((found,),) = await run(tx, _IS_ANY_SILENT, float(SILENT_SECONDS))
    return bool(found)


async def find_silent(tx: Transaction, limit: int) -> list[tuple[str, str]]:
    """Live runs that were not heard of for too long, as (run, session); not locked."""
    return [(run_id, session) for run_id, session in await run(tx, _SILENT, float(SILENT_SECONDS), limit)]


async def lock_silent(tx: Transaction, run_ids: Sequence[str]) -> list[Locked]:
    """Those of these that are still silent, locked; their sessions must be locked."""
    rows = await run(tx, _LOCK_SILENT, json_rows(list(run_ids)), float(SILENT_SECONDS))
    return [Locked(run_of(row), row[COUNT]) for row in rows]


def run_of(row: Sequence[Any]) -> Run:
    """The run of a row that begins with `COLUMNS`."""
    return Run.trusted(
        {
            "run_id": row[0],
            "name": row[1],
            "agent_name": row[2],
            "session_id": row[3],
            "task_id": row[4],
            "attempt": row[5],
            "worker_id": row[6],
            "command": row[7],
            "recipe": row[8],
            "state": row[9],
            "cause": row[10],
            "pid": row[11],
            "exit_code": row[12],
            "signal": row[13],
            "lines": row[14],
            "bytes": row[15],
            "lines_given": row[16],
            "usage": Usage.trusted({"input_tokens": row[17], "output_tokens": row[18], "cost_usd": row[19]}),
            "result": None if row[20] is None else JsonText(row[20].encode()),
            "error": row[21],
            "started": rfc3339(row[22]),
            "heard": rfc3339(row[23]),
            "ended": None if row[24] is None else rfc3339(row[24]),
        }
    )


def _values(kept: Run) -> dict[str, Any]:
    values = {name: value for name, value in kept.__dict__.items() if name not in ("usage", "lines", "bytes", "result")}
    result = None if kept.result is None else str(kept.result)
    return {**values, **kept.usage.__dict__, "result": result}
