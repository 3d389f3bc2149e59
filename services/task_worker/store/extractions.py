"""SQL of what was found in runs' lines: how far they were looked through, extractions, code blocks, counts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from services.task_worker.runs.rules import GONE_SECONDS
from services.task_worker.store.rows import json_rows, run
from services.task_worker.store.searching import Searched, Wanted, search
from shared.database import Transaction
from shared.messages import JsonText, encode, rfc3339
from shared.messages.runs_reading import CodeBlock, Extraction

# Enough for a batch, and not after five seconds only.
BATCH_LINES = 100
WAIT_SECONDS = 5.0
# Nobody else looks through a run that is looked through; should he die, another does after so long.
LEASE_SECONDS = 30.0

# A run with enough lines to look through, or some that have waited, or one that has ended; taken for a while. Those
# that have waited longest first; by extraction_states_waiting: as many as bring output just now. Nothing more comes of
# one that has ended once all its lines are here, or when its runner does not say how many there are; and of a lost one
# whose runner stays away, whose `since` is the moment when that is so.
_TAKE: LiteralString = """
    with due as (
        select x.run_id from extraction_states as x join agent_runs as r on r.run_id = x.run_id
        where x.since <= statement_timestamp() and (x.lease is null or x.lease < statement_timestamp())
            and (
                %(all)s or x.since <= statement_timestamp() - make_interval(secs => %(wait)s)
                or r.lines - x.extracted >= %(lines)s
                or (r.ended is not null and (r.lines > x.extracted or r.lines >= r.lines_given))
            )
        order by x.since limit 1 for update of x skip locked
    )
    update extraction_states as x set lease = statement_timestamp() + make_interval(secs => %(lease)s)
    from due, agent_runs as r
    where x.run_id = due.run_id and r.run_id = x.run_id
    returning x.run_id, r.session_id, r.agent_name, r.task_id, r.lines, x.extracted, x.state,
        r.ended is not null and (r.lines >= r.lines_given or r.heard < now() - make_interval(secs => %(wait)s))
        or r.state = 'lost' and r.heard <= statement_timestamp() - make_interval(secs => %(gone)s)
"""

# Lines that are just being kept are waited for: who keeps them may rely on it that they are seen. By the primary key.
_LOCK_RUN: LiteralString = "select from agent_runs where run_id = %s for no key update"

# What was looked through, unless another has done so meanwhile. What came since waits on. By the primary keys.
_ADVANCE: LiteralString = """
    update extraction_states as x set
        extracted = %(last_line)s, state = %(state)s::json, lease = null,
        since = case
            when r.lines > %(last_line)s or (r.ended is not null and not %(is_finished)s) then now()
            when r.state = 'lost' and not %(is_finished)s then r.heard + make_interval(secs => %(gone)s)
        end
    from agent_runs as r
    where x.run_id = %(run_id)s and r.run_id = x.run_id and x.extracted = %(after_line)s
    returning x.run_id
"""

_ADD: LiteralString = """
    insert into extractions (
        run_id, session_id, agent_name, task_id, type, pattern, risk, auto_confirm, text, data, stream, first_line,
        last_line, place, sha256, at
    )
    select %(run_id)s, %(session_id)s, %(agent_name)s, %(task_id)s, e.type, e.pattern, e.risk, e.auto_confirm, e.text,
        e.data, e.stream, e.first_line, e.last_line, e.place, e.sha256, e.at
    from json_to_recordset(%(found)s) as e (
        type text, pattern text, risk text, auto_confirm boolean, text text, data json, stream text, first_line bigint,
        last_line bigint, place int, sha256 text, at timestamptz
    )
    returning extraction_id, created
"""

# By the primary key.
_COUNT: LiteralString = """
    insert into extraction_counts (agent_name, day, type, risk, found)
    select %(agent_name)s, now()::date, c.type, c.risk, c.found
    from json_to_recordset(%(counts)s) as c (type text, risk text, found bigint) order by c.type, c.risk
    on conflict (agent_name, day, type, risk) do update set found = extraction_counts.found + excluded.found
"""

# A code block is kept once; by the primary key, in one order, so that no two batches wait for each other.
_KEEP_BLOCKS: LiteralString = """
    insert into code_blocks (sha256, language, content, seen, first_run_id, first_line, last_run_id, last_line)
    select b.sha256, b.language, b.content, b.seen, %(run_id)s, b.first_line, %(run_id)s, b.last_line
    from json_to_recordset(%(blocks)s) as b (
        sha256 text, language text, content text, seen bigint, first_line bigint, last_line bigint
    ) order by b.sha256
    on conflict (sha256) do update set
        seen = code_blocks.seen + excluded.seen, last_run_id = excluded.last_run_id, last_line = excluded.last_line,
        last_seen = now(), language = coalesce(code_blocks.language, excluded.language)
"""

# By the primary key.
_BLOCK: LiteralString = """
    select sha256, language, content, octet_length(content), seen, first_run_id, first_line, first_seen, last_run_id,
        last_line, last_seen
    from code_blocks where sha256 = %s
"""

# By extractions_by_run, …_by_session, …_by_pattern, …_by_agent, …_by_type, …_by_risk or …_newest.
EXTRACTIONS = Searched(
    "extractions",
    "extraction_id",
    "created",
    """
    r.extraction_id, r.run_id, r.session_id, r.agent_name, r.task_id, r.type, r.pattern, r.risk, r.auto_confirm, r.text,
    r.data::text, r.stream, r.first_line, r.last_line, r.place, r.sha256, r.at, r.created
    """,
    leads=("run_id", "session_id", "pattern", "agent_name", "type", "risk"),
    conditions={
        "auto_confirm": "auto_confirm = %(auto_confirm)s",
        "text": "strpos(lower(text), lower(%(text)s)) > 0",
    },
)


class Taken(NamedTuple):
    """A run to be looked through, its lines, and what is remembered of those before."""

    run_id: str
    session_id: str
    agent_name: str
    task_id: str | None
    lines: int
    extracted: int
    state: dict[str, Any] | None
    # Nothing more comes.
    is_over: bool


async def take_run(tx: Transaction, *, everything: bool = False) -> Taken | None:
    """A run whose lines are to be looked through, for this caller alone for a while; None when there is none.

    `everything`: also one with few lines that have not waited yet.
    """
    rows = await run(
        tx, _TAKE, all=everything, wait=WAIT_SECONDS, lines=BATCH_LINES, lease=LEASE_SECONDS, gone=float(GONE_SECONDS)
    )
    return Taken(*rows[0]) if rows else None


async def advance(
    tx: Transaction, run_id: str, *, after_line: int, last_line: int, state: dict[str, Any], is_finished: bool
) -> bool:
    """Note down how far a run was looked through; False when another was there first, and nothing of it counts."""
    await run(tx, _LOCK_RUN, run_id)
    rows = await run(
        tx, _ADVANCE, run_id=run_id, after_line=after_line, last_line=last_line, state=encode(state).decode(),
        is_finished=is_finished, gone=float(GONE_SECONDS),
    )  # fmt: skip
    return bool(rows)


async def add_extractions(tx: Transaction, taken: Taken, found: Sequence[dict[str, Any]]) -> list[Extraction]:
    """Keep what was found in a run, in its order."""
    about = {name: getattr(taken, name) for name in ("run_id", "session_id", "agent_name", "task_id")}
    rows = await run(tx, _ADD, **about, found=json_rows(list(found)))
    return [
        Extraction.trusted({"extraction_id": number, **about, **each, "created": rfc3339(created)})
        for (number, created), each in zip(sorted(rows), found, strict=True)
    ]


async def count(tx: Transaction, agent_name: str, counts: Sequence[dict[str, Any]]) -> None:
    """Count what was found today, by type and risk."""
    await run(tx, _COUNT, agent_name=agent_name, counts=json_rows(list(counts)))


async def keep_blocks(tx: Transaction, run_id: str, blocks: Sequence[dict[str, Any]]) -> None:
    """Keep code blocks, each of them once, or count that they were seen again."""
    await run(tx, _KEEP_BLOCKS, run_id=run_id, blocks=json_rows(list(blocks)))


async def find_block(tx: Transaction, sha256: str) -> CodeBlock | None:
    """A code block; None when there is none."""
    rows = await run(tx, _BLOCK, sha256)
    if not rows:
        return None
    digest, language, content, size, seen, first_run, first_line, first_seen, last_run, last_line, last_seen = rows[0]
    return CodeBlock(
        sha256=digest,
        language=language,
        content=content,
        bytes=size,
        seen=seen,
        first_run_id=first_run,
        first_line=first_line,
        first_seen=rfc3339(first_seen),
        last_run_id=last_run,
        last_line=last_line,
        last_seen=rfc3339(last_seen),
    )


async def search_extractions(
    tx: Transaction, wanted: Wanted, limit: int
) -> tuple[list[Extraction], tuple[datetime, int] | None]:
    """Up to `limit` extractions that are wanted, the newest first, and where the search has stopped, if early."""
    rows, edge = await search(tx, EXTRACTIONS, wanted, limit)
    return [_extraction_of(row) for row in rows], edge


def _extraction_of(row: Sequence[Any]) -> Extraction:
    return Extraction.trusted(
        {
            "extraction_id": row[0],
            "run_id": row[1],
            "session_id": row[2],
            "agent_name": row[3],
            "task_id": row[4],
            "type": row[5],
            "pattern": row[6],
            "risk": row[7],
            "auto_confirm": row[8],
            "text": row[9],
            "data": JsonText(row[10].encode()),
            "stream": row[11],
            "first_line": row[12],
            "last_line": row[13],
            "place": row[14],
            "sha256": row[15],
            "at": rfc3339(row[16] or row[17]),
            "created": rfc3339(row[17]),
        }
    )
