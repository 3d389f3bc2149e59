"""SQL of a session's timeline: its events in the order in which they were numbered."""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import namedtuple_row
from sqlalchemy import text

from shared.database import Transaction, psycopg_of
from shared.messages import JsonText

# How many events one page looks through for those of the types asked for.
LOOKED_THROUGH = 2_000
# Bodies as PostgreSQL keeps them, compressed, that one page may have in sum; it may have one larger than that.
_PAGE_STORED_BYTES = 2_000_000
_PAGE_BYTES = 8_000_000
# A page of a busy session lies within a few days, and few partitions are planned much faster than three months of them.
_NEAR = timedelta(days=3)
# By so much two events may bear timestamps in another order than their numbers: the clocks of their workers differ.
_SKEW = timedelta(hours=1)


class Counted(NamedTuple):
    """A session as its timeline sees it: since when it is, its last event's number, and whether that is long ago."""

    created: datetime
    last_seq: int
    quiet: bool


class Recorded(NamedTuple):
    """The numbers of a session's first and last event in the table; None when there is none."""

    first_seq: int | None
    last_seq: int | None


class Place(NamedTuple):
    """A place in a timeline: behind an event with this number, cursor and timestamp."""

    seq: int
    cursor: int
    timestamp: datetime


class Entry(NamedTuple):
    """An event of the timeline."""

    seq: int
    cursor: int
    body: JsonText
    timestamp: datetime


class Page(NamedTuple):
    """Events in order; `next` is the place to go on after, None at the end of what is there."""

    entries: list[Entry]
    next: Place | None


# A session to be looked at, by the primary key.
_COUNTED = text(
    "select created, seq, last_activity < now() - interval '1 minute' as quiet from sessions where id = :id"
)

_WITHIN: LiteralString = "session_id = %(session_id)s and timestamp >= %(since)s and timestamp < %(until)s"

# What is recorded of a session, from both ends of events_by_session in each partition since its creation.
_RECORDED: LiteralString = f"""
    select min(session_seq) as first_seq, max(session_seq) as last_seq from events
    where {_WITHIN} and session_seq is not null
"""  # noqa: S608

# The number of the first event from a moment on, from events_by_session of the partitions since then.
_FIRST_SINCE: LiteralString = f"""
    select min(session_seq) as seq from events where {_WITHIN} and session_seq is not null
"""  # noqa: S608

# When an event happened, from events_by_session.
_MOMENT_OF: LiteralString = f"""
    select max(timestamp) as moment from events where {_WITHIN} and session_seq = %(seq)s
"""  # noqa: S608

# The state after an event: that of the last `state_updated` up to it, from events_by_session read backwards.
_STATE_AT: LiteralString = f"""
    select (body -> 'state')::text as state from events
    where {_WITHIN} and session_seq <= %(seq)s and type = 'state_updated'
    order by session_seq desc, cursor desc limit 1
"""  # noqa: S608

# The events after a place: a bounded number is looked through by events_by_session of the partitions between two
# moments, merged; and of those that match, as many are taken as fit. Two events have one number only when somebody else
# than a worker published one of them. What happens in a sidebar, and who is mentioned there, is for those who take part
# in it; a viewer that is null may see all.
_PAGE: LiteralString = f"""
    with page as (
        select cursor, timestamp, session_seq, type, routing_key, body from events
        where {_WITHIN} and session_seq >= %(seq)s and (session_seq, cursor) > (%(seq)s, %(cursor)s)
        order by session_seq, cursor limit %(looked_through)s
    ), matching as (
        select cursor, timestamp, session_seq, body,
            row_number() over by_place as number,
            sum(pg_column_size(body)) over by_place - pg_column_size(body) as bytes_before,
            count(*) over () as matches
        from page where (%(types)s::text[] is null or type = any(%(types)s))
            and case
                when %(viewer)s::text is null then true
                when routing_key like 'sidebar.%%' then
                    coalesce((body -> 'sidebar' -> 'participants')::jsonb ? %(viewer)s, false)
                when type = 'mention_route' then
                    coalesce(body ->> 'participants', '') = '' or body ->> 'agent_id' = %(viewer)s
                    or (body -> 'participants')::jsonb ? %(viewer)s
                else true
            end
        window by_place as (order by session_seq, cursor)
    ), last as (
        select session_seq, cursor, timestamp from page order by session_seq desc, cursor desc limit 1
    )
    select (select count(*) from page) as looked_through,
        last.session_seq as last_seq, last.cursor as last_cursor, last.timestamp as last_timestamp,
        matching.matches, matching.session_seq, matching.cursor, matching.timestamp, matching.body::text as body
    from (values (1)) as one (row) left join last on true
    left join matching on number <= %(limit)s and bytes_before < %(bytes)s
    order by matching.session_seq, matching.cursor
"""  # noqa: S608


async def find_counted(tx: Transaction, session_id: str) -> Counted | None:
    """How far a session has counted its events; None when there is no such session."""
    row = (await tx.execute(_COUNTED, {"id": session_id})).one_or_none()
    return Counted(row.created, row.seq, row.quiet) if row else None


async def find_recorded(tx: Transaction, session_id: str, created: datetime) -> Recorded:
    """How much of a session that was created then is in the table."""
    values = {"session_id": session_id, "since": created - _SKEW, "until": _soon()}
    (row,) = await _planned_now(tx, _RECORDED, values)
    return Recorded(row.first_seq, row.last_seq)


async def find_first_since(tx: Transaction, session_id: str, moment: datetime) -> int | None:
    """The number of a session's first event from a moment on; None when there is none."""
    (row,) = await _planned_now(tx, _FIRST_SINCE, {"session_id": session_id, "since": moment, "until": _soon()})
    found: int | None = row.seq
    return found


async def find_state_at(tx: Transaction, session_id: str, created: datetime, seq: int) -> str | None:
    """A session's state, as JSON, right after its event with this number; None when it was not patched till then."""
    values = {"session_id": session_id, "since": created - _SKEW, "until": _soon(), "seq": seq}
    rows = await _planned_now(tx, _STATE_AT, values)
    return rows[0].state if rows else None


async def find_moment(tx: Transaction, session_id: str, created: datetime, seq: int) -> datetime | None:
    """When a session's event with this number happened; None when it is not recorded."""
    values = {"session_id": session_id, "since": created - _SKEW, "until": _soon(), "seq": seq}
    (row,) = await _planned_now(tx, _MOMENT_OF, values)
    found: datetime | None = row.moment
    return found


async def list_entries(
    tx: Transaction, session_id: str, types: list[str] | None, viewer: str | None, after: Place, limit: int
) -> Page:
    """Up to `limit` events of these types after a place, in the order of their numbers.

    Those of sidebars that the viewer takes no part in are left out; None may see all.
    """
    since = after.timestamp - _SKEW
    near = since + _NEAR
    page = await _page(tx, session_id, types, viewer, after, limit, since, near)
    if near < _soon() and (page.next is None or page.next.timestamp > near - _SKEW):
        page = await _page(tx, session_id, types, viewer, after, limit, since, _soon())
    return page


async def _page(
    tx: Transaction,
    session_id: str,
    types: list[str] | None,
    viewer: str | None,
    after: Place,
    limit: int,
    since: datetime,
    until: datetime,
) -> Page:
    looked_through = limit if types is None else LOOKED_THROUGH
    values = {
        "session_id": session_id,
        "since": since,
        "until": until,
        "types": types,
        "viewer": viewer,
        "seq": after.seq,
        "cursor": after.cursor,
        "looked_through": looked_through,
        "limit": limit,
        "bytes": _PAGE_STORED_BYTES,
    }
    rows = await _planned_now(tx, _PAGE, values)
    entries: list[Entry] = []
    size = 0
    last = None
    for row in rows:
        if row.cursor is None:
            break
        body = row.body.encode()
        size += len(body)
        if entries and size > _PAGE_BYTES:
            break
        entries.append(Entry(row.session_seq, row.cursor, JsonText(body), row.timestamp))
        last = Place(row.session_seq, row.cursor, row.timestamp)
    first = rows[0]
    if len(entries) < (first.matches or 0):
        return Page(entries, last)
    if first.looked_through < looked_through:
        return Page(entries, None)
    return Page(entries, Place(first.last_seq, first.last_cursor, first.last_timestamp))


def _soon() -> datetime:
    """A moment after every event there is, and before most of the partitions that are kept ready."""
    return datetime.now(UTC) + _SKEW


async def _planned_now(tx: Transaction, statement: LiteralString, values: dict[str, Any]) -> list[Any]:
    """Run a statement planned for these very moments: partitions outside of them are not even opened."""
    connection = await psycopg_of(tx)
    async with connection.cursor(row_factory=namedtuple_row) as cursor:
        await cursor.execute(statement, values, prepare=False)
        return await cursor.fetchall()
