"""The worker runtime's SQL: messages handled, the sessions they are about, and the events not yet published."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg.types.json import Json

from shared.bus.audit import Entry
from shared.database import Transaction, psycopg_of
from shared.messages import JsonText, encode

# The counters a reply may raise; names of columns of `sessions`.
COUNTERS = (
    "conversation_chunk_count",
    "memory_count",
    "task_count",
    "artifact_count",
    "action_count",
    "response_count",
)


class Handled(NamedTuple):
    """The record of a handled message; `events` are those the broker has not confirmed yet, as JSON text."""

    fingerprint: bytes | None
    reply: str
    events: str | None
    caller: str | None


class Record(NamedTuple):
    """A message handled in this transaction."""

    message_id: str
    command: str
    fingerprint: bytes | None
    reply: JsonText
    events: JsonText | None
    keep: timedelta
    caller: str | None


class Callback(NamedTuple):
    """A callback to be kept; `body` is the text that is POSTed."""

    id: str
    type: str
    url: str
    body: str
    message_id: str
    task_id: str | None


# Lists go in as one JSON parameter: psycopg writes arrays of text in Python, at eight times the price.

# Which of these messages were handled before. Serves: primary key.
_FIND = """
    select message_id, fingerprint, reply, events, caller from handled_messages
    where message_id = any (array(select json_array_elements_text(%s)))
"""

# The sessions a batch is about, in sorted order so that two batches never wait for each other. Not FOR UPDATE: rows
# that refer to a session may be written meanwhile. Serves: primary key.
_LOCK_SESSIONS = """
    select id, status from sessions where id = any (array(select json_array_elements_text(%s)))
    order by id for no key update
"""

# Numbers for a batch's events, with the counters and the last activity, one row for each session. Serves: primary key.
# The activity is indexed, so it moves at most once a second: in between, the update touches no index.
_COUNT = f"""
    update sessions as s set
        seq = s.seq + n.events,
        last_activity = case when s.last_activity < now() - interval '1 s' then now() else s.last_activity end,
        {", ".join(f"{name} = s.{name} + n.{name}" for name in COUNTERS)}
    from json_to_recordset(%s) as n (id text, events int, {", ".join(f"{name} int" for name in COUNTERS)})
    where s.id = n.id
    returning s.id, s.seq
"""  # noqa: S608 (the names are constants above)

# The record of a batch, and its rows of the audit log, in one way to the server. Fewer records than given: another
# worker has just handled one of them, and all is rolled back. Serves: primary key. Replies and events go beside the
# JSON: reading them as a part of it takes the server as long as all the rest. Arrays must be binary: written as text
# they are escaped in Python.
_RECORD = """
    with audited as (
        insert into audit (key, agent_id, command, message_id, session_id, target, outcome)
        select key, agent_id, command, message_id, session_id, target, outcome
        from json_to_recordset(%s) as a (
            key text, agent_id text, command text, message_id text, session_id text, target text, outcome text
        )
    )
    insert into handled_messages (message_id, command, fingerprint, reply, events, expires_at, caller)
    select message_id, command, decode(fingerprint, 'hex'), reply, events, now() + make_interval(secs => keep), caller
    from rows from (
        json_to_recordset(%s) as (message_id text, command text, fingerprint text, keep float8, caller text),
        unnest(%b::text[], %b::text[])
    ) as r (message_id, command, fingerprint, keep, caller, reply, events)
    on conflict do nothing
"""

# Callbacks owed by commands of this batch, due at once.
_KEEP_CALLBACKS = """
    insert into callbacks (id, type, url, body, message_id, task_id)
    select id, type, url, body, message_id, task_id
    from json_to_recordset(%s) as c (id text, type text, url text, body text, message_id text, task_id text)
"""

# The broker has these messages' events; they need not be kept for a crash any more. Serves: primary key.
_MARK_PUBLISHED = """
    update handled_messages set events = null where message_id = any (array(select json_array_elements_text(%s)))
"""

# Messages with events whose command is acknowledged already, until the broker has the events.
_KEEP_UNCONFIRMED = """
    insert into unconfirmed_messages (message_id) select json_array_elements_text(%s)
    on conflict (message_id) do update set at = now()
"""

# Serves: primary key.
_CONFIRM = "delete from unconfirmed_messages where message_id = any (array(select json_array_elements_text(%s)))"

# What a worker that died left behind, and for as long again nobody else's to tell. The table holds only what is under
# way, and is read whole.
_TAKE_UNCONFIRMED = """
    with due as (
        select message_id from unconfirmed_messages where at < now() - make_interval(secs => %s)
        limit %s for update skip locked
    ), taken as (
        update unconfirmed_messages as u set at = now() from due where u.message_id = due.message_id
    )
    select due.message_id, h.events from due left join handled_messages as h on h.message_id = due.message_id
"""


async def find_handled(tx: Transaction, message_ids: Sequence[str]) -> dict[str, Handled]:
    """The records of those of these messages that were handled before."""
    cursor = await (await psycopg_of(tx)).execute(_FIND, [_json(message_ids)])
    return {message_id: Handled(*record) for message_id, *record in await cursor.fetchall()}


async def lock_sessions(tx: Transaction, session_ids: Sequence[str]) -> dict[str, str]:
    """Lock those of these sessions that exist; returns their statuses by id."""
    cursor = await (await psycopg_of(tx)).execute(_LOCK_SESSIONS, [_json(session_ids)])
    return dict(await cursor.fetchall())


async def count_events(tx: Transaction, sessions: dict[str, dict[str, int]]) -> dict[str, int]:
    """Add each session's counts (`events` and the counters); returns the number of its last event by id."""
    zero = dict.fromkeys(("events", *COUNTERS), 0)
    rows = [{"id": session_id, **zero, **counts} for session_id, counts in sorted(sessions.items())]
    cursor = await (await psycopg_of(tx)).execute(_COUNT, [_json(rows)])
    return dict(await cursor.fetchall())


async def record(tx: Transaction, records: Sequence[Record], audit: Sequence[Entry]) -> bool:
    """Keep the records, and the audit log's; False when one of the messages has meanwhile been handled elsewhere."""
    if not records:
        return True
    rows: list[dict[str, Any]] = [
        {
            "message_id": each.message_id,
            "command": each.command,
            "fingerprint": each.fingerprint.hex() if each.fingerprint else None,
            "keep": each.keep.total_seconds(),
            "caller": each.caller,
        }
        for each in records
    ]
    entries = [entry._asdict() for entry in audit]
    replies = [each.reply.text.decode() for each in records]
    events = [each.events.text.decode() if each.events else None for each in records]
    cursor = await (await psycopg_of(tx)).execute(_RECORD, [_json(entries), _json(rows), replies, events])
    return cursor.rowcount == len(records)


async def keep_callbacks(tx: Transaction, callbacks: Sequence[Callback]) -> None:
    """Keep callbacks for the task worker to send."""
    if callbacks:
        await (await psycopg_of(tx)).execute(_KEEP_CALLBACKS, [_json([each._asdict() for each in callbacks])])


async def keep_unconfirmed(tx: Transaction, message_ids: Sequence[str]) -> None:
    """Remember that these messages, just recorded with events, will not be delivered again."""
    if message_ids:
        await (await psycopg_of(tx)).execute(_KEEP_UNCONFIRMED, [_json(message_ids)])


async def take_unconfirmed(tx: Transaction, limit: int, seconds: float) -> dict[str, str | None]:
    """Some of the messages unconfirmed for so long, which nobody else takes for as long; with their events, if any."""
    cursor = await (await psycopg_of(tx)).execute(_TAKE_UNCONFIRMED, [seconds, limit])
    return dict(await cursor.fetchall())


async def mark_published(tx: Transaction, published: Mapping[str, bool]) -> None:
    """Forget the events of these messages: the broker has them. Each with whether it was kept as unconfirmed."""
    if published:
        await (await psycopg_of(tx)).execute(_MARK_PUBLISHED, [_json(list(published))])
    if kept := [message_id for message_id, unconfirmed in published.items() if unconfirmed]:
        await (await psycopg_of(tx)).execute(_CONFIRM, [_json(kept)])


def _json(value: Sequence[Any]) -> Json:
    return Json(value, dumps=encode)
