"""Events of the stream as rows of `events`; pure."""

from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from services.session_worker.store.events import EventLog
from shared.bus.tail import StreamEvent
from shared.errors import Rejected
from shared.messages import JsonText, check_json, encode
from shared.messages.json_text import MAX_WRAPPED_DEPTH


class EventRow(NamedTuple):
    """A row of `events`: the id of its event, and the whole row as a JSON object."""

    message_id: str
    text: bytes


_BIGINT = 2**63 - 1
_Id = Annotated[str, Meta(min_length=1, max_length=255)]


class _Head(msgspec.Struct):
    """What the table has columns for; the rest of a body is not looked at."""

    message_id: _Id
    type: _Id
    timestamp: Annotated[datetime, Meta(tz=True)]
    session_id: _Id | None = None
    session_seq: Annotated[int, Meta(ge=0, le=_BIGINT)] | None = None


_HEADS = msgspec.json.Decoder(_Head)


def row_of(event: StreamEvent, log: EventLog) -> EventRow | None:
    """The row of an event, its body spliced in; None when there is nothing that could be kept."""
    try:
        head = _HEADS.decode(event.body)
        event.body.decode()  # members that are not looked at may hold anything
        timestamp = head.timestamp.astimezone(UTC)  # in the first or last hours of all years there may be none
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return foreign_row(event, log)
    return _row(event, log, head.message_id, head.type, timestamp, head.session_id, head.session_seq)


def foreign_row(event: StreamEvent, log: EventLog) -> EventRow | None:
    """The row of a JSON object that some program published as an event though it is none.

    What it lacks is filled in: the moment it is recorded, and, if it has none, an id made of its place in the stream.
    None when the body is no JSON object.
    """
    try:
        document = check_json(event.body, MAX_WRAPPED_DEPTH)
    except Rejected:
        return None
    if not isinstance(document, dict):
        return None
    ids = (document.get("message_id"), event.message_id, f"{log.epoch}:{event.offset}")
    message_id = next(each for each in ids if isinstance(each, str) and 0 < len(each) <= 255)
    kind = document.get("type")
    return _row(event, log, message_id, kind[:255] if isinstance(kind, str) and kind else "unknown", datetime.now(UTC))


def _row(
    event: StreamEvent,
    log: EventLog,
    message_id: str,
    kind: str,
    timestamp: datetime,
    session_id: str | None = None,
    session_seq: int | None = None,
) -> EventRow:
    row: dict[str, Any] = {
        "cursor": log.base + event.offset,
        "timestamp": timestamp,
        "message_id": message_id,
        "type": kind,
        "routing_key": event.routing_key,
        "session_id": session_id,
        "session_seq": session_seq,
        "body": JsonText(event.body),
    }
    return EventRow(message_id, encode(row))
