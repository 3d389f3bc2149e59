"""The worker runtime's SQL: messages handled, the sessions they are about, and the events not yet published."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.database import Transaction

# The counters a reply may raise; names of columns of `sessions`.
COUNTERS = ("conversation_chunk_count", "memory_count", "task_count", "artifact_count")


class Handled(NamedTuple):
    """The record of a handled message; `events` are those the broker has not confirmed yet, as JSON text."""

    fingerprint: bytes | None
    reply: str
    events: str | None


class Record(NamedTuple):
    """A message handled in this transaction."""

    message_id: str
    command: str
    fingerprint: bytes | None
    reply: str
    events: str | None
    keep: timedelta


# Which of these messages were handled before. Serves: primary key.
_FIND = text("select message_id, fingerprint, reply, events from handled_messages where message_id = any(:ids)")

# The sessions a batch is about, in sorted order so that two batches never wait for each other. Not FOR UPDATE: rows
# that refer to a session may be written meanwhile. Serves: primary key.
_LOCK_SESSIONS = text("select id, status from sessions where id = any(:ids) order by id for no key update")

# Numbers for a batch's events, with the counters and the last activity, one row for each session. Serves: primary key.
_COUNT = text(
    f"""
    update sessions as s set
        seq = s.seq + n.events,
        last_activity = greatest(s.last_activity, now()),
        {", ".join(f"{name} = s.{name} + n.{name}" for name in COUNTERS)}
    from unnest(
        cast(:ids as text[]), cast(:events as int[]), {", ".join(f"cast(:{name} as int[])" for name in COUNTERS)}
    ) as n(id, events, {", ".join(COUNTERS)})
    where s.id = n.id
    returning s.id, s.seq
    """  # noqa: S608 (the names are constants above)
)

# The record of a batch. Fewer rows than given: another worker has just handled one of them. Serves: primary key.
_RECORD = text(
    """
    insert into handled_messages (message_id, command, fingerprint, reply, events, expires_at)
    select message_id, command, fingerprint, reply, events, now() + make_interval(secs => keep)
    from unnest(cast(:message_ids as text[]), cast(:commands as text[]), cast(:fingerprints as bytea[]),
                cast(:replies as text[]), cast(:events as text[]), cast(:keeps as float8[]))
        as r(message_id, command, fingerprint, reply, events, keep)
    on conflict do nothing
    """
)

# The broker has these messages' events; they need not be kept for a crash any more. Serves: primary key.
_MARK_PUBLISHED = text("update handled_messages set events = null where message_id = any(:ids)")


async def find_handled(tx: Transaction, message_ids: Sequence[str]) -> dict[str, Handled]:
    """The records of those of these messages that were handled before."""
    rows = await tx.execute(_FIND, {"ids": list(message_ids)})
    return {row.message_id: Handled(row.fingerprint, row.reply, row.events) for row in rows}


async def lock_sessions(tx: Transaction, session_ids: Sequence[str]) -> dict[str, str]:
    """Lock those of these sessions that exist; returns their statuses by id."""
    rows = await tx.execute(_LOCK_SESSIONS, {"ids": sorted(session_ids)})
    return {row.id: row.status for row in rows}


async def count_events(tx: Transaction, sessions: dict[str, dict[str, int]]) -> dict[str, int]:
    """Add each session's counts (`events` and the counters); returns the number of its last event by id."""
    ids = sorted(sessions)
    parameters: dict[str, Any] = {"ids": ids}
    for name in ("events", *COUNTERS):
        parameters[name] = [sessions[each].get(name, 0) for each in ids]
    rows = await tx.execute(_COUNT, parameters)
    return {row.id: row.seq for row in rows}


async def record(tx: Transaction, records: Sequence[Record]) -> bool:
    """Keep the records; False when one of the messages has meanwhile been handled elsewhere."""
    if not records:
        return True
    done = await tx.execute(
        _RECORD,
        {
            "message_ids": [each.message_id for each in records],
            "commands": [each.command for each in records],
            "fingerprints": [each.fingerprint for each in records],
            "replies": [each.reply for each in records],
            "events": [each.events for each in records],
            "keeps": [each.keep.total_seconds() for each in records],
        },
    )
    return done.rowcount == len(records)


async def mark_published(tx: Transaction, message_ids: Sequence[str]) -> None:
    """Forget the events of these messages: the broker has them."""
    if message_ids:
        await tx.execute(_MARK_PUBLISHED, {"ids": list(message_ids)})
