"""SQL of runs' lines."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from services.task_worker.store.rows import json_rows, run
from shared.database import Transaction, psycopg_of
from shared.messages import rfc3339
from shared.messages.runs import StoredLine, Stream

# What a page may take in sum.
PAGE_BYTES = 1_000_000
# Lines of all streams that are looked at for those of one.
LOOKED_AT = 20_000

# Runs that lines have come for, locked in one order, with how far each was looked through. By the primary keys.
_LOCK: LiteralString = """
    select r.run_id, r.session_id, r.agent_name, r.task_id, r.lines, r.masking_state, r.paced_until, clock_timestamp(),
        x.extracted
    from agent_runs as r join extraction_states as x on x.run_id = r.run_id
    where r.run_id = any (array(select json_array_elements_text(%s)))
    order by r.run_id for no key update of r
"""

# Lines of one or many runs, in one statement. Twice as fast as an insert of as many: no line can be there already,
# since its number was counted under the lock of its run.
_COPY: LiteralString = "copy agent_output (run_id, number, stream, text, encoding, partial, at) from stdin"

# Counts lines; by the primary key. No index holds what changes, and the run was heard of once a second at most.
_COUNT: LiteralString = """
    update agent_runs as r set
        lines = c.lines, bytes = r.bytes + c.bytes, masking_state = c.masking_state, paced_until = c.paced_until,
        heard = case when r.heard < now() - interval '1 s' then now() else r.heard end
    from json_to_recordset(%s) as c (
        run_id text, lines bigint, bytes bigint, masking_state json, paced_until timestamptz
    )
    where r.run_id = c.run_id
"""

# Runs with something to be looked through, and those where that is a prompt, so that it can't wait; by the primary key.
_MARK: LiteralString = """
    update extraction_states set since = now()
    where run_id = any (array(select json_array_elements_text(%s))) and (since is null or since > now())
"""
_MARK_URGENT: LiteralString = """
    update extraction_states set since = now() - interval '1 minute'
    where run_id = any (array(select json_array_elements_text(%s)))
"""

_COLUMNS: LiteralString = "number, stream, text, at, partial, encoding"

# Lines of a run after a number, and the last ones; by the primary key.
_PAGE: LiteralString = f"""
    select {_COLUMNS} from agent_output where run_id = %s and number > %s order by number limit %s
"""  # noqa: S608
_LAST: LiteralString = f"""
    select {_COLUMNS} from agent_output where run_id = %s order by number desc limit %s
"""  # noqa: S608

# The same of one stream, among so many lines of all; by the primary key.
_PAGE_OF: LiteralString = f"""
    select {_COLUMNS} from (
        select {_COLUMNS} from agent_output where run_id = %s and number > %s order by number limit %s
    ) as looked where stream = %s order by number limit %s
"""  # noqa: S608
_LAST_OF: LiteralString = f"""
    select {_COLUMNS} from (
        select {_COLUMNS} from agent_output where run_id = %s order by number desc limit %s
    ) as looked where stream = %s order by number desc limit %s
"""  # noqa: S608

# The last of the lines that were looked at, when there are more behind it; by the primary key.
_EDGE: LiteralString = """
    with looked as (select number from agent_output where run_id = %(run_id)s and number > %(after)s
        order by number limit %(most)s)
    select max(number) from looked
    having exists (select from agent_output where run_id = %(run_id)s and number > (select max(number) from looked))
"""


class Output(NamedTuple):
    """What is known of a run's output, locked for more of it."""

    run_id: str
    session_id: str
    agent_name: str
    task_id: str | None
    lines: int
    masking_state: dict[str, Any] | None
    paced_until: datetime
    now: datetime
    extracted: int


class Count(NamedTuple):
    """What a run's output has come to."""

    run_id: str
    lines: int
    # Those added.
    bytes: int
    masking_state: dict[str, Any] | None
    paced_until: datetime


async def lock_outputs(tx: Transaction, run_ids: Iterable[str]) -> dict[str, Output]:
    """Those of these runs that there are, locked; their sessions must be locked."""
    rows = await run(tx, _LOCK, json_rows(sorted(set(run_ids))))
    return {row[0]: Output(*row) for row in rows}


async def add_lines(tx: Transaction, lines: Sequence[tuple[str, StoredLine]]) -> None:
    """Keep lines of runs that are locked, each with its run."""
    text = "".join(
        f"{run_id}\t{line.number}\t{line.stream}\t{_escaped(line.text)}\t{line.encoding or chr(92) + 'N'}"
        f"\t{'t' if line.partial else 'f'}\t{line.at}\n"
        for run_id, line in lines
    )
    connection = await psycopg_of(tx)
    async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        await copy.write(text.encode())


async def count_lines(tx: Transaction, counts: Sequence[Count]) -> None:
    """Keep what the output of runs has come to, which are locked."""
    await run(tx, _COUNT, json_rows([count._asdict() for count in counts]))


async def mark_waiting(tx: Transaction, run_ids: Sequence[str], *, urgent: bool = False) -> None:
    """There is something in these runs to be looked through; `urgent`: at once."""
    await run(tx, _MARK_URGENT if urgent else _MARK, json_rows(list(run_ids)))


async def page_of_lines(tx: Transaction, run_id: str, after: int, limit: int) -> list[StoredLine]:
    """Up to `limit` lines of a run after a number, in their order."""
    return [_line_of(row) for row in await run(tx, _PAGE, run_id, after, limit)]


async def lines_of_stream(
    tx: Transaction, run_id: str, stream: Stream, after: int, limit: int
) -> tuple[list[StoredLine], int | None]:
    """Up to `limit` lines of a stream after a number, and the number that was looked to, if there is more behind it."""
    lines = [_line_of(row) for row in await run(tx, _PAGE_OF, run_id, after, LOOKED_AT, stream, limit)]
    if len(lines) == limit:
        return lines, None
    rows = await run(tx, _EDGE, run_id=run_id, after=after, most=LOOKED_AT)
    return lines, rows[0][0] if rows else None


async def last_lines(tx: Transaction, run_id: str, limit: int, stream: Stream | None = None) -> list[StoredLine]:
    """The last lines of a run or of one of its streams, in their order."""
    if stream is None:
        rows = await run(tx, _LAST, run_id, limit)
    else:
        rows = await run(tx, _LAST_OF, run_id, LOOKED_AT, stream, limit)
    return [_line_of(row) for row in reversed(rows)]


def _escaped(text: str) -> str:
    """Text as COPY reads it."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _line_of(row: Sequence[Any]) -> StoredLine:
    number, stream, text, at, partial, encoding = row
    return StoredLine.trusted(
        {
            "number": number,
            "stream": stream,
            "text": text,
            "at": rfc3339(at),
            "partial": partial,
            "encoding": encoding,
        }
    )
