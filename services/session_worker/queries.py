"""The reading commands of sessions, deliveries, the event log and dead letters: each sees what is committed."""

from datetime import datetime
from typing import Any

from services.session_worker import store
from services.session_worker.dead_letters import BEGINNING, as_noun
from services.session_worker.topics import regex_of
from shared.database import Transaction
from shared.errors import Rejected, not_found
from shared.messages import Command, JsonText
from shared.messages.json_text import slices
from shared.messages.session import GetSession, ListSessions
from shared.messages.system import GetCommand, GetDelivery, ListDeadLetters, ListDeliveries, ListEvents
from shared.pages import cursor_after, page_of, sort_key

Result = dict[str, Any]


async def get_session(tx: Transaction, command: Command) -> Result:
    """One session."""
    asked: GetSession = command.data
    session = await store.sessions.find_session(tx, asked.session_id)
    if session is None:
        raise not_found("session", asked.session_id)
    return {"session": session}


async def list_sessions(tx: Transaction, command: Command) -> Result:
    """A page of sessions, the most recently active first."""
    asked: ListSessions = command.data
    rows = await store.sessions.list_sessions(tx, asked.status, sort_key(asked.cursor, datetime, str), asked.limit + 1)
    sessions, last = page_of(rows, asked.limit)
    return {"sessions": sessions, "next": cursor_after(last.last_activity, last.session_id) if last else None}


async def get_delivery(tx: Transaction, command: Command) -> Result:
    """One webhook delivery with its payload."""
    asked: GetDelivery = command.data
    delivery = await store.deliveries.find_delivery(tx, asked.delivery_id)
    if delivery is None:
        raise not_found("delivery", asked.delivery_id)
    return {"delivery": delivery}


async def list_deliveries(tx: Transaction, command: Command) -> Result:
    """A page of webhook deliveries without payloads, the newest first."""
    asked: ListDeliveries = command.data
    rows = await store.deliveries.list_deliveries(
        tx, asked.source, sort_key(asked.cursor, datetime, str), asked.limit + 1
    )
    deliveries, last = page_of(rows, asked.limit)
    return {"deliveries": deliveries, "next": cursor_after(last.received, last.message_id) if last else None}


async def get_command(tx: Transaction, command: Command) -> Result:
    """What became of a command; one that is still under way is not found."""
    asked: GetCommand = command.data
    text = await store.handled.find_reply(tx, asked.message_id)
    if text is None and (reason := await store.dead_letters.find_reason(tx, asked.message_id)) is not None:
        given_up = Rejected("internal", f"given up, and kept among the dead letters: {reason}")
        return {"status": "failed", "error": given_up.as_error()}
    if text is None:
        raise Rejected(
            "not_found", f"no command with the message id {asked.message_id!r} is known", message_id=asked.message_id
        )
    reply = slices(text.encode())
    if reply["ok"] == b"true":
        return {"status": "done", "result": JsonText(reply["result"])}
    return {"status": "failed", "error": JsonText(reply["error"])}


async def get_event_log(tx: Transaction, command: Command) -> Result:
    """The event log's epoch, what to add to an offset, and the cursors it holds: none when `first` is `last` + 1."""
    log = await store.events.event_log(tx)
    first = await store.events.first_cursor(tx)
    last = log.checkpoint
    return {"epoch": log.epoch, "base": log.base, "first": last + 1 if first is None else first, "last": last}


async def list_events(tx: Transaction, command: Command) -> Result:
    """A page of recorded events, each with its cursor spliced in. The end is where `next` is null."""
    asked: ListEvents = command.data
    patterns = sorted({regex_of(topic) for topic in asked.topics})
    page = await store.events.list_events(tx, asked.after, asked.until, patterns, asked.limit)
    return {"events": [with_cursor(body, cursor) for cursor, body in page.events], "next": page.next}


def with_cursor(body: JsonText, cursor: int) -> JsonText:
    """An event's own JSON with its cursor added as the last member."""
    members = body.text.rstrip().removesuffix(b"}").rstrip()
    return JsonText(b'%s%s"cursor":%d}' % (members, b"" if members.endswith(b"{") else b",", cursor))


async def list_dead_letters(tx: Transaction, command: Command) -> Result:
    """A page of dead letters, the newest first."""
    asked: ListDeadLetters = command.data
    (before,) = sort_key(asked.cursor, int) or (None,)
    rows = await store.dead_letters.list_letters(tx, before, asked.limit + 1, BEGINNING)
    letters, last = page_of(rows, asked.limit)
    return {"dead_letters": [as_noun(letter) for letter in letters], "next": cursor_after(last.id) if last else None}


QUERIES = {
    query.__name__: query
    for query in (
        get_session,
        list_sessions,
        get_delivery,
        list_deliveries,
        get_command,
        get_event_log,
        list_events,
        list_dead_letters,
    )
}
