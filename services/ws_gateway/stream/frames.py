"""WebSocket frames as bytes (RFC 6455 §5.2), built once for all who receive them."""

import re
from typing import Any, TypeVar

import msgspec

from services.ws_gateway.stream.about import About, Words, words_of
from shared.errors import Rejected
from shared.messages import encode
from shared.messages.json_text import slices

# A payload above this stays behind: the frame names the delivery by which it is fetched.
PAYLOAD_LIMIT = 1_000_000

PRIORITIES = ("critical", "high", "normal", "low", "background")
CRITICAL = 0
_RANKS = {name: rank for rank, name in enumerate(PRIORITIES)} | {"urgent": CRITICAL}
_NORMAL = _RANKS["normal"]

# Events that go past all that waits, whatever is in the way, each with the name of its lane.
LANES = {"security_emergency_broadcast": "security_emergency", "critical_failure_broadcast": "critical_failure"}
# Events that reach everyone who is connected, whatever they are subscribed to.
FOR_EVERYONE = frozenset({*LANES, "system_shutdown", "maintenance_shutdown", "emergency_shutdown_warning"})
FOR_ADMINS = frozenset({"security_alert", "unacknowledged_updates"})
_ADMIN_TOPICS = frozenset({"system.security_alert", "system.unacknowledged"})
MENTION = "mention_route"
_ADDRESSED_TOPICS = ("sidebar.", *_ADMIN_TOPICS)
_ADDRESSED = FOR_EVERYONE | FOR_ADMINS | {MENTION}
_NOBODY: frozenset[str] = frozenset()


class Frame:
    """An event as it goes out: its place in the log, its topic, how urgent it is, and the bytes.

    `is_addressed`: not simply for all who asked for its topic, but as `audience`, `to_agents` and `to_all` say.
    """

    __slots__ = ("_about", "_words", "cursor", "data", "is_addressed", "message_id", "rank", "routing_key", "type")

    def __init__(self, cursor: int, routing_key: str, rank: int, message_id: str, data: bytes, kind: str = "") -> None:
        self.cursor = cursor
        self.routing_key = routing_key
        self.rank = rank
        self.message_id = message_id
        self.data = data
        self.type = kind
        self.is_addressed = kind in _ADDRESSED or routing_key.startswith(_ADDRESSED_TOPICS) or kind[:8] == "sidebar_"
        if self.is_addressed and kind in LANES:
            self.rank = CRITICAL
        self._about: About | None = None
        self._words: Words | None = None

    @property
    def about(self) -> About:
        """What the event is about; read once."""
        if self._about is None:
            self._about = About(self.text)
        return self._about

    @property
    def words(self) -> Words:
        """The words of its text; read once, until `forget_words`."""
        if self._words is None:
            self._words = words_of(self.text)
        return self._words

    def forget_words(self) -> None:
        """Let the text go: the ring holds many events."""
        self._words = None

    @property
    def audience(self) -> frozenset[str] | None:
        """The only agents that may hear of it, besides admins; None: whoever asks."""
        if not self.is_addressed:
            return None
        if self.type in FOR_ADMINS or self.routing_key in _ADMIN_TOPICS:
            return _NOBODY
        if _is_of_sidebar(self.routing_key, self.type):
            return self.about.participants or _NOBODY
        if self.type == MENTION and self.about.participants is not None:
            return self.about.participants | self.to_agents
        return None

    @property
    def to_agents(self) -> frozenset[str]:
        """Agents it reaches wherever they are connected, whatever they are subscribed to."""
        return frozenset((self.about.target,)) if self.type == MENTION and self.about.target else _NOBODY

    @property
    def to_all(self) -> bool:
        """Whether it reaches everyone who is connected."""
        return self.type in FOR_EVERYONE

    @property
    def text(self) -> bytes:
        """The JSON within."""
        length = self.data[1]
        return self.data[2 if length < 126 else 4 if length == 126 else 10 :]

    def __repr__(self) -> str:
        return f"Frame({self.cursor}, {self.routing_key!r}, {PRIORITIES[self.rank]})"


def _is_of_sidebar(routing_key: str, kind: str) -> bool:
    return routing_key.startswith("sidebar.") or kind.startswith("sidebar_")


class _Envelope(msgspec.Struct, gc=False):
    type: str
    message_id: str = ""
    priority: str = "normal"


class _Recorded(_Envelope, kw_only=True, gc=False):
    cursor: int


_Read = TypeVar("_Read", bound=_Envelope)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_RECORDED = msgspec.json.Decoder(_Recorded)


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
    envelope = _read(body, _ENVELOPE)
    if len(body) > PAYLOAD_LIMIT:
        body = _without_payload(body)
    elif body[-1] != 0x7D:  # white space behind the closing brace
        body = body.rstrip()
    tail = b',"cursor":%d}' % cursor
    data = b"".join((_head(len(body) - 1 + len(tail)), memoryview(body)[:-1], tail))
    return Frame(cursor, routing_key, _RANKS.get(envelope.priority, _NORMAL), envelope.message_id, data, envelope.type)


def recorded_frame(routing_key: str, body: bytes) -> Frame:
    """The frame of an event from the events table, whose JSON holds its cursor already. Raises as `event_frame`."""
    envelope = _read(body, _RECORDED)
    if len(body) > PAYLOAD_LIMIT:
        body = _without_payload(body)
    return Frame(
        envelope.cursor,
        routing_key,
        _RANKS.get(envelope.priority, _NORMAL),
        envelope.message_id,
        text_frame(body),
        envelope.type,
    )


def _read(body: bytes, decoder: msgspec.json.Decoder[_Read]) -> _Read:
    # msgspec skips the members it does not need without looking at their UTF-8; a client would close on bad bytes.
    body.decode()
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise ValueError(f"not an event: {fault}") from None


def _without_payload(body: bytes) -> bytes:
    members = slices(body)
    if len(members.get("payload", b"")) <= PAYLOAD_LIMIT:
        return body.rstrip()
    members = {("payload_ref" if name == "payload" else name): text for name, text in members.items()}
    members["payload_ref"] = members.get("delivery_id", members.get("message_id", b"null"))
    return b"{" + b",".join(encode(name) + b":" + text for name, text in members.items()) + b"}"


_SINCE = re.compile(rb',"since":(-?\d+)\Z')


def overtaking(frame: Frame, since: int) -> bytes:
    """The frame of an event that goes out before older ones: it says from which cursor to resume instead of its own."""
    text = frame.text[:-1]
    if earlier := _SINCE.search(text):
        text, since = text[: earlier.start()], min(since, int(earlier[1]))
    return text_frame(b'%b,"since":%d}' % (text, since))


def overtaken_by(frame: Frame, since: int) -> Frame:
    """An event that goes out before those after `since`, to be kept among others until then."""
    return Frame(frame.cursor, frame.routing_key, frame.rank, frame.message_id, overtaking(frame, since), frame.type)
