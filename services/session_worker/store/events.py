"""SQL of the event stream's copy, and of how far it goes."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import JsonText

# Bodies as PostgreSQL keeps them, compressed, that one page may have in sum; it may have one larger than that.
_PAGE_STORED_BYTES = 2_000_000
_PAGE_BYTES = 8_000_000
# How many events one page looks through for those that match its topics.
_LOOKED_THROUGH = 5_000
_LAST = 2**63 - 1


class EventLog(NamedTuple):
    """How far the stream is copied. `base` + a stream offset is a cursor; `checkpoint` is the last cursor copied."""

    epoch: str
    base: int
    checkpoint: int
    began: datetime
    # Whether everybody was told of this epoch.
    announced: bool


class EventPage(NamedTuple):
    """Events with their cursors and routing keys; `next` is the cursor to go on from, None at the end."""

    events: list[tuple[int, str, JsonText]]
    next: int | None


# The one row of the event log.
_EVENT_LOG = text("select epoch, base, checkpoint, began, announced from event_log")

# The checkpoint moves only from where the mover believes it is: of two recorders, one finds it moved.
_ADVANCE = text("""
    update event_log set checkpoint = :now, changed = now()
    where epoch = :epoch and checkpoint = :before
""")

# A new stream: its offsets start at 0 again, its cursors go on, past whatever gateways had given out of the old one and
# nobody had recorded.
_RECREATE = text("""
    update event_log set
        epoch = :new_epoch, base = checkpoint + 1000001, began = now(), announced = false, changed = now()
    where epoch = :epoch and checkpoint = :checkpoint
""")

_SET_ANNOUNCED = text("update event_log set announced = true where epoch = :epoch")

# Many events in one statement, bodies spliced in as they came; a copy of an event that is there already is left out, by
# events_once. Each row goes into its day's partition and that one's three indexes.
_INSERT = text("""
    insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
    select cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body
    from json_to_recordset(cast(:rows as json)) as row (
        cursor bigint, timestamp timestamptz, message_id text, type text, routing_key text, session_id text,
        session_seq bigint, body json
    )
    on conflict do nothing
""")

# What was recorded at a cursor, by the primary key of each partition.
_MESSAGE_AT = text("select message_id from events where cursor = :cursor")

# The first cursor that is kept, by the primary key of each partition.
_FIRST = text("select min(cursor) from events")

# Events after a cursor, in order: a bounded number is looked through by the primary keys of the partitions, and of
# those that match, as many are taken as fit. Big bodies are not read before they are known to be wanted.
_LIST = """
    with page as (
        select cursor, routing_key, body from events
        where cursor > :after and cursor <= :until order by cursor limit :looked_through
    ), matching as (
        select cursor, routing_key, body,
            row_number() over (order by cursor) as number,
            sum(pg_column_size(body)) over (order by cursor) - pg_column_size(body) as bytes_before,
            count(*) over () as matches
        from page {where}
    )
    select seen.last, seen.looked_through, matching.matches, matching.cursor, matching.routing_key,
        matching.body::text as body
    from (select max(cursor) as last, count(*) as looked_through from page) as seen
    left join matching on number <= :limit and bytes_before < :bytes
    order by matching.cursor
"""
_LIST_ALL = text(_LIST.format(where=""))
_LIST_MATCHING = text(_LIST.format(where="where ('.' || routing_key) ~ any(:patterns)"))


async def event_log(tx: Transaction) -> EventLog:
    """How far the stream is copied."""
    row = (await tx.execute(_EVENT_LOG)).one()
    return EventLog(row.epoch, row.base, row.checkpoint, row.began, row.announced)


async def first_cursor(tx: Transaction) -> int | None:
    """The first cursor that is kept; None when there are no events."""
    first: int | None = (await tx.execute(_FIRST)).scalar_one()
    return first


async def advance(tx: Transaction, log: EventLog, checkpoint: int) -> bool:
    """Move the checkpoint on; False when it is not (or no longer) where `log` says."""
    moved = await tx.execute(_ADVANCE, {"epoch": log.epoch, "before": log.checkpoint, "now": checkpoint})
    return moved.rowcount == 1


async def recreate(tx: Transaction, log: EventLog, epoch: str) -> bool:
    """Begin a new epoch, not yet announced; False when the event log is not as `log` says."""
    values = {"epoch": log.epoch, "checkpoint": log.checkpoint, "new_epoch": epoch}
    return (await tx.execute(_RECREATE, values)).rowcount == 1


async def set_announced(tx: Transaction, log: EventLog) -> None:
    """Note that everybody was told of the epoch."""
    await tx.execute(_SET_ANNOUNCED, {"epoch": log.epoch})


async def insert_events(tx: Transaction, rows: list[bytes]) -> None:
    """Write events, each given as the text of a JSON object with the columns as members."""
    await tx.execute(_INSERT, {"rows": (b"[" + b",".join(rows) + b"]").decode()})


async def message_at(tx: Transaction, cursor: int) -> str | None:
    """The message id of the event at a cursor; None when there is none."""
    found: str | None = (await tx.execute(_MESSAGE_AT, {"cursor": cursor})).scalar_one_or_none()
    return found


async def list_events(tx: Transaction, after: int, until: int | None, patterns: list[str], limit: int) -> EventPage:
    """Events with `after` < cursor ≤ `until`; with patterns, those whose routing key, after a dot, matches one."""
    values = {
        "after": after,
        "until": _LAST if until is None else until,
        "limit": limit,
        "looked_through": _LOOKED_THROUGH if patterns else limit,
        "bytes": _PAGE_STORED_BYTES,
    }
    if patterns:
        rows = (await tx.execute(_LIST_MATCHING, {**values, "patterns": patterns})).all()
    else:
        rows = (await tx.execute(_LIST_ALL, values)).all()
    last, looked_through, matches = rows[0].last, rows[0].looked_through, rows[0].matches or 0
    events: list[tuple[int, str, JsonText]] = []
    size = 0
    for row in rows:
        if row.cursor is None:
            break
        body = row.body.encode()
        size += len(body)
        if events and size > _PAGE_BYTES:
            break
        events.append((row.cursor, row.routing_key, JsonText(body)))
    if len(events) < matches:
        return EventPage(events, events[-1][0])
    return EventPage(events, last if looked_through == values["looked_through"] and last != until else None)
