"""The recorded events and what the log holds of them."""

from typing import Any

from services.session_worker import store
from services.session_worker.topics import regex_of
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.messages import Command, JsonText
from shared.messages.system import ListEvents


async def get_event_log(tx: Transaction, command: Command) -> dict[str, Any]:
    """The event log's epoch, what to add to an offset, and the cursors it holds: none when `first` is `last` + 1."""
    log = await store.events.event_log(tx)
    first = await store.events.first_cursor(tx)
    last = log.checkpoint
    return {"epoch": log.epoch, "base": log.base, "first": last + 1 if first is None else first, "last": last}


async def list_events(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of recorded events, each with its cursor spliced in, and their routing keys.

    The end is where `next` is null.
    """
    asked: ListEvents = command.data
    patterns = sorted({regex_of(topic) for topic in asked.topics})
    page = await store.events.list_events(tx, asked.after, asked.until, patterns, asked.limit)
    return {
        "events": [with_cursor(body, cursor) for cursor, _, body in page.events],
        "routing_keys": [routing_key for _, routing_key, _ in page.events],
        "next": page.next,
    }


def with_cursor(body: JsonText, cursor: int) -> JsonText:
    """An event's own JSON with its cursor added as the last member."""
    members = body.text.rstrip().removesuffix(b"}").rstrip()
    return JsonText(b'%s%s"cursor":%d}' % (members, b"" if members.endswith(b"{") else b",", cursor))


QUERIES: dict[str, QueryHandler] = {query.__name__: query for query in (get_event_log, list_events)}
