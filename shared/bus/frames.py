"""AMQP 0-9-1 frames as bytes: the few that carry messages by hand, for speed; no I/O.

Source: the AMQP 0-9-1 specification and RabbitMQ's errata. Every other method goes through pamqp.
"""

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pamqp import decode as amqp_decode
from pamqp import encode as amqp_encode

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = b"\xce"
FRAME_HEADER = struct.Struct(">BHI")
# A frame's own bytes beside its payload: header 7, end 1.
FRAME_OVERHEAD = 8

DELIVER, RETURN, ACK, NACK = 0x003C003C, 0x003C0032, 0x003C0050, 0x003C0078

_METHOD_ID = struct.Struct(">I")
_PUBLISH = struct.Struct(">IH")
_CONTENT = struct.Struct(">HHQH")
_DELIVERY_TAG = struct.Struct(">QB")
_ACK = struct.Struct(">BHIIQBB")
_LENGTH = struct.Struct(">I")

_CONTENT_TYPE, _ENCODING, _HEADERS, _MODE, _PRIORITY = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
_CORRELATION, _REPLY_TO, _EXPIRATION, _MESSAGE_ID = 1 << 10, 1 << 9, 1 << 8, 1 << 7
_PERSISTENT = b"\x02"
_JSON = b"\x10application/json"
# The header as RabbitMQ writes it, found without decoding the table: name, type S, length 55.
_TRACEPARENT = b"\x0btraceparentS\x00\x00\x007"
_STREAM_OFFSET = b"\x0fx-stream-offsetl"


def _short(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError(f"an AMQP short string holds 255 bytes, not {len(raw)}: {text[:40]!r}…")
    return bytes((len(raw),)) + raw


def publish_frames(
    channel: int,
    frame_max: int,
    exchange: str,
    routing_key: str,
    body: bytes,
    *,
    mandatory: bool,
    persistent: bool = True,
    message_id: str = "",
    correlation_id: str = "",
    reply_to: str = "",
    expiration: str = "",
    content_encoding: str = "",
    headers: Mapping[str, Any] | None = None,
) -> bytes:
    """Method, header and body frames of one basic.publish, joined.

    Raises ValueError when a short string is over 255 bytes or the headers do not fit one frame.
    """
    method = _PUBLISH.pack(0x003C0028, 0) + _short(exchange) + _short(routing_key) + (b"\x01" if mandatory else b"\x00")
    flags = _CONTENT_TYPE
    properties = _JSON
    if content_encoding:
        flags |= _ENCODING
        properties += _short(content_encoding)
    if headers:
        flags |= _HEADERS
        properties += amqp_encode.field_table(dict(headers))
    if persistent:
        flags |= _MODE
        properties += _PERSISTENT
    if correlation_id:
        flags |= _CORRELATION
        properties += _short(correlation_id)
    if reply_to:
        flags |= _REPLY_TO
        properties += _short(reply_to)
    if expiration:
        flags |= _EXPIRATION
        properties += _short(expiration)
    if message_id:
        flags |= _MESSAGE_ID
        properties += _short(message_id)
    header = _CONTENT.pack(60, 0, len(body), flags) + properties
    if len(header) + FRAME_OVERHEAD > frame_max:
        raise ValueError(f"the message's headers take {len(header)} bytes, a frame holds {frame_max}")
    head = FRAME_HEADER.pack
    parts = [
        head(METHOD, channel, len(method)),
        method,
        FRAME_END,
        head(HEADER, channel, len(header)),
        header,
        FRAME_END,
    ]
    limit = frame_max - FRAME_OVERHEAD
    for start in range(0, len(body), limit):
        piece = body if len(body) <= limit else body[start : start + limit]
        parts += (head(BODY, channel, len(piece)), piece, FRAME_END)
    return b"".join(parts)


def ack_frame(channel: int, delivery_tag: int, *, multiple: bool) -> bytes:
    """A basic.ack; with `multiple`, for every delivery up to this one."""
    return _ACK.pack(METHOD, channel, 13, ACK, delivery_tag, multiple, 0xCE)


def heartbeat_frame() -> bytes:
    """A heartbeat."""
    return b"\x08\x00\x00\x00\x00\x00\x00\xce"


def method_id(payload: bytes) -> int:
    """Class and method id of a method frame's payload, as one number."""
    number: int = _METHOD_ID.unpack_from(payload)[0]
    return number


def _read_short(payload: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + payload[at]
    # Left out, not replaced: what another program sent as no UTF-8 must not grow past the 255 bytes it is sent on in.
    return payload[at + 1 : end].decode(errors="ignore"), end


def _read_table(payload: bytes) -> tuple[int, dict[str, Any]]:
    try:
        end, table = amqp_decode.field_table(payload)
    except Exception:  # noqa: BLE001 (a moment past the year 9999, a name that is no UTF-8 …: many kinds)
        return 4 + _LENGTH.unpack_from(payload)[0], {}
    return end, table


def _read_moment(payload: bytes) -> tuple[int, datetime]:
    try:
        end, moment = amqp_decode.timestamp(payload)
    except (ValueError, OverflowError, OSError):
        return 8, datetime.fromtimestamp(0, UTC)
    return end, moment


# pamqp reads the properties of a message for aio-pika, whose connection ends for good over one that pamqp can't read;
# RabbitMQ looks at none of them, so any program could stop a consumer by one message.
amqp_decode.METHODS.update(
    table=_read_table, shortstr=lambda payload: _read_short(payload, 0)[::-1], timestamp=_read_moment
)


class Delivery:
    """A message a queue handed over: where it came by, its properties and its body."""

    __slots__ = ("_headers", "_tables", "body", "content_encoding", "correlation_id", "exchange", "expiration",
                 "message_id", "redelivered", "reply_to", "routing_key", "tag")  # fmt: skip

    def __init__(self, tag: int, redelivered: bool, exchange: str, routing_key: str) -> None:
        self.tag = tag
        self.redelivered = redelivered
        self.exchange = exchange
        self.routing_key = routing_key
        self.body = b""
        self.content_encoding = self.correlation_id = self.reply_to = self.expiration = self.message_id = ""
        self._tables = b""
        self._headers: dict[str, Any] | None = None

    @property
    def headers(self) -> dict[str, Any]:
        """The header table, decoded when first asked for; empty when it holds what pamqp can't read."""
        if self._headers is None:
            self._headers = _read_table(self._tables)[1] if self._tables else {}
        return self._headers

    @property
    def traceparent(self) -> str:
        """The W3C trace context in the header of that name, if it has the right length; else empty."""
        at = self._tables.find(_TRACEPARENT)
        return self._tables[at + len(_TRACEPARENT) :][:55].decode(errors="replace") if at >= 0 else ""

    @property
    def stream_offset(self) -> int:
        """The offset a stream gives each of its messages. Raises LookupError when it did not come from a stream."""
        tables = self._tables
        at = tables.find(_STREAM_OFFSET)
        if at < 0:
            raise LookupError("the message did not come from a stream")
        if tables.find(_STREAM_OFFSET, at + 1) >= 0 and isinstance(offset := self.headers.get("x-stream-offset"), int):
            return offset  # the same bytes once more, within another header
        return int.from_bytes(tables[at + 17 : at + 25], "big", signed=True)


class Incoming:
    """A message on its way in, frame by frame: for a consumer, or returned to us with a reason."""

    __slots__ = ("_left", "_parts", "consumer", "delivery", "reason")

    def __init__(self, delivery: Delivery, *, consumer: str | None = None, reason: str = "") -> None:
        self.delivery = delivery
        self.consumer = consumer
        self.reason = reason
        self._left = 0
        self._parts: list[bytes] = []

    def header(self, payload: bytes) -> bool:
        """Take the content header; True when the message is whole, since its body is empty."""
        self._left = read_content_header(payload, self.delivery)
        return self._left == 0

    def body(self, payload: bytes) -> bool:
        """Take a body frame; True when the message is whole."""
        self._left -= len(payload)
        self._parts.append(payload)
        if self._left:
            return False
        self.delivery.body = payload if len(self._parts) == 1 else b"".join(self._parts)
        return True


def read_deliver(payload: bytes) -> tuple[str, Delivery]:
    """Consumer tag and delivery of a basic.deliver's payload."""
    consumer, at = _read_short(payload, 4)
    tag, redelivered = _DELIVERY_TAG.unpack_from(payload, at)
    exchange, at = _read_short(payload, at + 9)
    routing_key, _ = _read_short(payload, at)
    return consumer, Delivery(tag, bool(redelivered), exchange, routing_key)


def read_return(payload: bytes) -> tuple[str, Delivery]:
    """Reason and message of a basic.return's payload."""
    reason, at = _read_short(payload, 6)
    exchange, at = _read_short(payload, at)
    routing_key, _ = _read_short(payload, at)
    return reason, Delivery(0, False, exchange, routing_key)


def read_confirm(payload: bytes) -> tuple[int, bool]:
    """Delivery tag and the `multiple` bit of a basic.ack or basic.nack."""
    tag, bits = _DELIVERY_TAG.unpack_from(payload, 4)
    return tag, bool(bits & 1)


def read_content_header(payload: bytes, delivery: Delivery) -> int:
    """Fill a delivery's properties from its content header; returns the size of the body in bytes."""
    _, _, size, flags = _CONTENT.unpack_from(payload)
    at = 14
    if flags & _CONTENT_TYPE:
        at += 1 + payload[at]
    if flags & _ENCODING:
        delivery.content_encoding, at = _read_short(payload, at)
    if flags & _HEADERS:
        end = at + 4 + _LENGTH.unpack_from(payload, at)[0]
        delivery._tables = payload[at:end]
        at = end
    if flags & _MODE:
        at += 1
    if flags & _PRIORITY:
        at += 1
    if flags & _CORRELATION:
        delivery.correlation_id, at = _read_short(payload, at)
    if flags & _REPLY_TO:
        delivery.reply_to, at = _read_short(payload, at)
    if flags & _EXPIRATION:
        delivery.expiration, at = _read_short(payload, at)
    if flags & _MESSAGE_ID:
        delivery.message_id, at = _read_short(payload, at)
    return int(size)
