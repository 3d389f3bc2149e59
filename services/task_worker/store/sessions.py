"""SQL of questions about sessions, which the session worker owns, with the runs in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from services.task_worker.store.rows import json_rows, run
from services.task_worker.store.runs import COLUMNS as RUN_COLUMNS
from services.task_worker.store.runs import run_of
from services.task_worker.store.searching import LOOKED_AT
from shared.database import Transaction
from shared.messages import JsonText, rfc3339
from shared.messages.runs import Run
from shared.messages.session import Session, SessionStatus

# How many runs of a session are shown.
SHOWN = 20

_COLUMNS: LiteralString = """
    s.id, s.title, s.user_id, s.participants, s.status, s.initial::text, s.created, s.last_activity,
    s.conversation_chunk_count, s.memory_count, s.task_count, s.artifact_count, s.action_count, s.response_count, s.seq
"""

# The latest runs of each of some sessions, of any agent or of one; by agent_runs_by_session.
_LATEST_RUNS: LiteralString = f"""
    select {RUN_COLUMNS} from json_array_elements_text(%(session_ids)s) as named (session_id), lateral (
        select * from agent_runs
        where session_id = named.session_id and (%(agent_name)s::text is null or agent_name = %(agent_name)s)
        order by started desc, run_id desc limit {SHOWN}
    ) as r
"""  # noqa: S608


def sessions_statement(
    status: SessionStatus | None, since: datetime | None, until: datetime | None, after: object
) -> LiteralString:
    """Sessions, the most recently active first; by sessions_by_status or sessions_by_activity."""
    within: list[LiteralString] = ["true"]
    if status is not None:
        within.append("s.status = %(status)s")
    if since is not None:
        within.append("s.last_activity >= %(since)s")
    if until is not None:
        within.append("s.last_activity < %(until)s")
    if after is not None:
        within.append("(s.last_activity, s.id) < (%(after)s, %(after_id)s)")
    return f"""
        select {_COLUMNS} from sessions as s where {" and ".join(within)}
        order by s.last_activity desc, s.id desc limit %(limit)s
    """  # noqa: S608


def search_statement(since: datetime | None, until: datetime | None, after: object) -> LiteralString:
    """Sessions by the latest run of an agent in them.

    By agent_runs_by_agent, agent_runs_by_session and the primary key.
    """
    within: list[LiteralString] = ["agent_name = %(agent_name)s"]
    later: list[LiteralString] = ["true"]
    if since is not None:
        within.append("started >= %(since)s")
    if until is not None:
        within.append("started < %(until)s")
        later.append("newer.started < %(until)s")
    if after is not None:
        within.append("(started, run_id) < (%(after)s, %(after_id)s)")
    return f"""
        with looked as materialized (
            select run_id, session_id, started from agent_runs where {" and ".join(within)}
            order by started desc, run_id desc limit %(most)s
        ), edge as (
            select started, run_id from looked order by started desc, run_id desc limit 1 offset %(most)s - 1
        ), latest as (
            select * from looked where not exists (
                select from agent_runs as newer
                where newer.session_id = looked.session_id and newer.agent_name = %(agent_name)s
                    and (newer.started, newer.run_id) > (looked.started, looked.run_id) and {" and ".join(later)}
            )
        ), hits as (
            select latest.started, latest.run_id, s.* from latest cross join lateral (
                select * from sessions where id = latest.session_id
                    and (%(status)s::text is null or status = %(status)s) offset 0
            ) as s
            order by latest.started desc, latest.run_id desc limit %(limit)s
        )
        select {_COLUMNS}, s.started, s.run_id, edge.started, edge.run_id
        from (select) as one left join edge on true left join hits as s on true
        order by s.started desc, s.run_id desc
    """  # noqa: S608


async def list_sessions(
    tx: Transaction,
    status: SessionStatus | None,
    since: datetime | None,
    until: datetime | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Session]:
    """Up to `limit` sessions after a sort key (last activity, id), the most recently active first."""
    rows = await run(
        tx, sessions_statement(status, since, until, after), status=status, since=since, until=until,
        after=after and after[0], after_id=after and after[1], limit=limit,
    )  # fmt: skip
    return [_session_of(row) for row in rows]


async def search_sessions(
    tx: Transaction,
    agent_name: str,
    status: SessionStatus | None,
    since: datetime | None,
    until: datetime | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> tuple[list[tuple[Session, tuple[datetime, str]]], tuple[datetime, str] | None]:
    """Up to `limit` sessions in which an agent ran, each with its sort key, the latest run's (start, id).

    Among those of the next `LOOKED_AT` runs, with the sort key of the last of these if there may be more behind it.
    """
    rows = await run(
        tx, search_statement(since, until, after), agent_name=agent_name, status=status, since=since, until=until,
        after=after and after[0], after_id=after and after[1], limit=limit, most=LOOKED_AT,
    )  # fmt: skip
    found = [(_session_of(row), (row[-4], row[-3])) for row in rows if row[0] is not None]
    edge = (rows[0][-2], rows[0][-1]) if rows and rows[0][-2] is not None else None
    return found, edge if len(found) < limit else None


async def latest_runs(tx: Transaction, session_ids: Sequence[str], agent_name: str | None) -> dict[str, list[Run]]:
    """The latest runs of these sessions, of an agent if one is given, by session."""
    if not session_ids:
        return {}
    found: dict[str, list[Run]] = {}
    rows: list[Any] = await run(tx, _LATEST_RUNS, session_ids=json_rows(list(session_ids)), agent_name=agent_name)
    for row in rows:
        each = run_of(row)
        found.setdefault(each.session_id, []).append(each)
    return found


def _session_of(row: Sequence[Any]) -> Session:
    return Session.trusted(
        {
            "session_id": row[0],
            "title": row[1],
            "user_id": row[2],
            "participants": row[3],
            "status": row[4],
            "initial": None if row[5] is None else JsonText(row[5].encode()),
            "created": rfc3339(row[6]),
            "last_activity": rfc3339(row[7]),
            "conversation_chunk_count": row[8],
            "memory_count": row[9],
            "task_count": row[10],
            "artifact_count": row[11],
            "action_count": row[12],
            "response_count": row[13],
            "seq": row[14],
        }
    )
