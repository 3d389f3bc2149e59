"""WebSocket frames as bytes (RFC 6455 §5.2), built once for all who receive them."""

from typing import Any

import msgspec

from shared.errors import Rejected
from shared.messages import encode
from shared.messages.json_text import slices

# A payload above this stays behind: the frame names the delivery by which it is fetched.
PAYLOAD_LIMIT = 1_000_000

PRIORITIES = ("critical", "high", "normal", "low", "background")
CRITICAL = 0
_RANKS = {name: rank for rank, name in enumerate(PRIORITIES)} | {"urgent": CRITICAL}
_NORMAL = _RANKS["normal"]


class Frame:
    """An event as it goes out: its place in the log, its topic, how urgent it is, and the bytes."""

    __slots__ = ("cursor", "data", "message_id", "rank", "routing_key", "type")

    def __init__(self, cursor: int, routing_key: str, rank: int, message_id: str, data: bytes, kind: str = "") -> None:
        self.cursor = cursor
        self.routing_key = routing_key
        self.rank = rank
        self.message_id = message_id
        self.data = data
        self.type = kind

    @property
    def text(self) -> bytes:
        """The JSON within."""
        length = self.data[1]
        return self.data[2 if length < 126 else 4 if length == 126 else 10 :]

    def __repr__(self) -> str:
        return f"Frame({self.cursor}, {self.routing_key!r}, {PRIORITIES[self.rank]})"


class _Envelope(msgspec.Struct, gc=False):
    type: str
    message_id: str = ""
    priority: str = "normal"
    cursor: int = -1


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def text_frame(payload: bytes) -> bytes:
    """One whole, unmasked text frame."""
    return _head(len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """One whole, unmasked binary frame."""
    return _head(len(payload), b"\x82") + payload


def _head(size: int, first: bytes = b"\x81") -> bytes:
    if size < 126:
        return first + size.to_bytes(1, "big")
    if size < 65536:
        return first + b"\x7e" + size.to_bytes(2, "big")
    return first + b"\x7f" + size.to_bytes(8, "big")


def message(kind: str, **fields: Any) -> bytes:
    """A message of the gateway's own, as a frame."""
    return text_frame(encode({"type": kind, **fields}))


def gap(first: int, last: int, reason: str) -> bytes:
    """Tells a client that matching events among these cursors, both included, do not come."""
    return message("gap", **{"from": first, "to": last, "reason": reason})


def error(rejected: Rejected, correlation_id: str | None = None) -> bytes:
    """Tells a client what was wrong with a frame of its own, and which one it was."""
    named = {} if correlation_id is None else {"correlation_id": correlation_id}
    return message("error", **named, **rejected.as_error())


def event_frame(cursor: int, routing_key: str, body: bytes) -> Frame:
    """The frame of an event: its own JSON with `"cursor": N` at the end.

    Raises ValueError when the body is no event: not UTF-8, not a JSON object, or without a `type`.
    """
    envelope = _read(body)
    if len(body) > PAYLOAD_LIMIT:
        body = _without_payload(body)
    elif body[-1] != 0x7D:  # white space behind the closing brace
        body = body.rstrip()
    tail = b',"cursor":%d}' % cursor
    data = b"".join((_head(len(body) - 1 + len(tail)), memoryview(body)[:-1], tail))
    return Frame(cursor, routing_key, _RANKS.get(envelope.priority, _NORMAL), envelope.message_id, data, envelope.type)


def recorded_frame(body: bytes) -> Frame:
    """The frame of an event from the events table, whose JSON holds its cursor already.

    Its routing key is not known here: whoever asked for it asked by topic. Raises ValueError as `event_frame`.
    """
    envelope = _read(body)
    if len(body) > PAYLOAD_LIMIT:
        body = _without_payload(body)
    return Frame(
        envelope.cursor,
        "",
        _RANKS.get(envelope.priority, _NORMAL),
        envelope.message_id,
        text_frame(body),
        envelope.type,
    )


def _read(body: bytes) -> _Envelope:
    # msgspec skips the members it does not need without looking at their UTF-8; a client would close on bad bytes.
    body.decode()
    try:
        return _ENVELOPE.decode(body)
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise ValueError(f"not an event: {fault}") from None


def _without_payload(body: bytes) -> bytes:
    members = slices(body)
    if len(members.get("payload", b"")) <= PAYLOAD_LIMIT:
        return body.rstrip()
    members = {("payload_ref" if name == "payload" else name): text for name, text in members.items()}
    members["payload_ref"] = members.get("delivery_id", members.get("message_id", b"null"))
    return b"{" + b",".join(encode(name) + b":" + text for name, text in members.items()) + b"}"


def overtaking(frame: Frame, since: int) -> bytes:
    """The frame of an event that goes out before older ones: it says from which cursor to resume instead of its own."""
    return text_frame(b'%b,"since":%d}' % (frame.text[:-1], since))
