"""Questions about agents' runs, their lines, what was found in them, and an agent's figures."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.task_worker.runs import rules
from services.task_worker.runs.rules import moment_of
from services.task_worker.store import controls, extractions, output, run_reading, sessions
from services.task_worker.store import runs as store
from services.task_worker.store.searching import Wanted
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command, rfc3339
from shared.messages.runs import Run, StoredLine
from shared.messages.runs_reading import (
    AgentFigures,
    AgentStats,
    GetCodeBlock,
    GetOutput,
    GetRun,
    ListRuns,
    QueryExtractions,
    QuerySessions,
    RunHistory,
    SessionRuns,
)
from shared.pages import cursor_after, page_of, sort_key

# What figures are about, unless a time is given.
FIGURES_DAYS = 30


async def list_runs(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of runs, the newest first; a short or empty one may have a `next` when enough was looked at."""
    data: ListRuns = command.data
    wanted = Wanted(
        {name: getattr(data, name) for name in ("task_id", "session_id", "agent_name", "state")},
        _moment(data.since, "since"),
        _moment(data.until, "until"),
        sort_key(data.cursor, datetime, str),
    )
    found, edge = await run_reading.search_runs(tx, wanted, data.limit + 1)
    page, last = page_of(found, data.limit)
    after = (last.started, last.run_id) if last is not None else edge
    return {"runs": page, "next": cursor_after(*after) if after else None}


async def get_run(tx: Transaction, command: Command) -> dict[str, Any]:
    """A run with its history. Raises `Rejected("not_found")`."""
    data: GetRun = command.data
    run = await _find(tx, data.run_id, data.session_id)
    history = {
        "transitions": await store.find_states(tx, run.run_id),
        "controls": await controls.controls_of(tx, run.run_id),
    }
    return {"run": RunHistory.trusted({**run.__dict__, **history})}


async def get_output(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of a run's lines, cut where it gets too large. Raises `Rejected("not_found")`."""
    data: GetOutput = command.data
    run = await _find(tx, data.run_id, data.session_id)
    key = sort_key(data.cursor, int)
    if data.tail and key is None:
        return {"lines": await output.last_lines(tx, run.run_id, data.limit, data.stream), "next": None}
    after = key[0] if key is not None else data.after_line
    edge = None
    if data.stream is None:
        lines = await output.page_of_lines(tx, run.run_id, after, data.limit + 1)
    else:
        lines, edge = await output.lines_of_stream(tx, run.run_id, data.stream, after, data.limit + 1)
    size = 0
    page: list[StoredLine] = []
    for line in lines[: data.limit]:
        size += len(line.text)
        if page and size > output.PAGE_BYTES:
            break
        page.append(line)
    last = page[-1].number if len(page) < len(lines) else edge
    return {"lines": page, "next": None if last is None else cursor_after(last)}


async def query_extractions(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of what was found, the newest first; a short or empty one may have a `next`."""
    data: QueryExtractions = command.data
    named = ("run_id", "session_id", "pattern", "agent_name", "type", "risk", "auto_confirm", "text")
    wanted = Wanted(
        {name: getattr(data, name) for name in named},
        _moment(data.since, "since"),
        _moment(data.until, "until"),
        sort_key(data.cursor, datetime, int),
    )
    found, edge = await extractions.search_extractions(tx, wanted, data.limit + 1)
    page, last = page_of(found, data.limit)
    after = (last.created, last.extraction_id) if last is not None else edge
    return {"extractions": page, "next": cursor_after(*after) if after else None}


async def get_code_block(tx: Transaction, command: Command) -> dict[str, Any]:
    """A code block with its content. Raises `Rejected("not_found")`."""
    data: GetCodeBlock = command.data
    block = await extractions.find_block(tx, data.sha256)
    if block is None:
        raise not_found("code block", data.sha256)
    return {"code_block": block}


async def agent_stats(tx: Transaction, command: Command) -> dict[str, Any]:
    """An agent's figures; one that nobody has heard of has none, and that is no error."""
    data: AgentStats = command.data
    until = _moment(data.until, "until") or datetime.now(UTC)
    since = _moment(data.since, "since") or until - timedelta(days=FIGURES_DAYS)
    told = await run_reading.figures(tx, data.agent_name, since, until)
    by_state: dict[str, int] = told["by_state"]
    over = sum(by_state.get(state, 0) for state in (*rules.ENDS, "lost"))
    rate = by_state.get("completed", 0) / over if over else None
    stats = AgentFigures.trusted(
        {
            "agent_name": data.agent_name,
            "since": rfc3339(since),
            "until": rfc3339(until),
            **told,
            "success_rate": None if rate is None else round(rate, 4),
        }
    )
    return {"stats": stats}


async def query_sessions(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of sessions with their runs; a short or empty one may have a `next`, when an agent was asked for."""
    data: QuerySessions = command.data
    since, until = _moment(data.since, "since"), _moment(data.until, "until")
    after = sort_key(data.cursor, datetime, str)
    if data.agent_name is None:
        found = await sessions.list_sessions(tx, data.status, since, until, after, data.limit + 1)
        page, last = page_of(found, data.limit)
        next_page = cursor_after(last.last_activity, last.session_id) if last is not None else None
    else:
        placed, edge = await sessions.search_sessions(
            tx, data.agent_name, data.status, since, until, after, data.limit + 1
        )
        placed, last_placed = page_of(placed, data.limit)
        page, end = [session for session, _ in placed], last_placed[1] if last_placed is not None else edge
        next_page = cursor_after(*end) if end else None
    by_session = await sessions.latest_runs(tx, [session.session_id for session in page], data.agent_name)
    told = [SessionRuns.trusted({**each.__dict__, "runs": by_session.get(each.session_id, [])}) for each in page]
    return {"sessions": told, "next": next_page}


async def _find(tx: Transaction, run_id: str, session_id: str | None) -> Run:
    run = await store.find_run(tx, run_id)
    if run is None or session_id not in (None, run.session_id):
        raise rules.unknown_run(run_id)
    return run


def _moment(text: str | None, field: str) -> datetime | None:
    return None if text is None else moment_of(text, field).astimezone(UTC)


QUERIES: dict[str, QueryHandler] = {
    query.__name__: query
    for query in (
        list_runs,
        get_run,
        get_output,
        query_extractions,
        get_code_block,
        agent_stats,
        query_sessions,
    )
}
