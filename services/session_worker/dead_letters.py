"""Dead letters: where a message that no worker could take came from, why it is here, and how it is shown; pure."""

import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

import orjson

from services.session_worker.store.dead_letters import FoundLetter, KeptLetter, Letter
from shared.bus.topology import COMMANDS, DEAD_LETTERS
from shared.errors import Rejected, invalid
from shared.messages import rfc3339
from shared.messages.commands import COMMANDS as DECLARED
from shared.messages.system import DeadLetter, DeadLetterAdded, WholeDeadLetter

# How much of a body is shown, as it is stored and as text: in a list or an event, and of one letter.
BEGINNING = 10_000
MUCH = 1_000_000

# Headers that tell how a message came here; a redriven one starts without them.
_HISTORY = (
    "x-death",
    "x-first-death-",
    "x-last-death-",
    "x-delivery-count",
    "x-acquired-count",
    "x-attempt",
    "x-reason",
    "x-original-",
    "x-redriven-from",
)
# Headers that the dead-letter queue itself changes when it delivers a message again.
_CHANGING = frozenset({"x-delivery-count", "x-acquired-count"})

_REASONS = {
    "rejected": "rejected by the consumer of {queue}",
    "expired": "expired in {queue}",
    "maxlen": "{queue} was full",
    "delivery_limit": "given back to {queue} too often: whoever takes it fails or dies",
}
_EVENT_IDS = UUID("51a7e0a0-0f0c-5a53-9a57-0b8f5bb4f0c1")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as the dead-letter queue delivers it."""

    exchange: str
    routing_key: str
    headers: dict[str, Any]
    body: bytes
    content_encoding: str
    message_id: str
    correlation_id: str
    reply_to: str

    @property
    def unroutable(self) -> bool:
        """Whether it came through the alternate exchange: then it still bears the exchange it was published to."""
        return self.exchange != DEAD_LETTERS


def letter_of(arrival: Arrival) -> Letter:
    """What is kept of a message.

    Its key is the same for each delivery of it, and for copies made when a confirm was lost; a message that dies again
    after it was redriven has another, by its headers.
    """
    headers = {name: _plain(value) for name, value in arrival.headers.items()}
    exchange, routing_key, reason = _origin(arrival, headers)
    attempts = headers.get("x-attempt", 0)
    stable = {name: value for name, value in headers.items() if name not in _CHANGING}
    identity = [arrival.message_id, arrival.exchange, arrival.routing_key, arrival.correlation_id, stable]
    key = sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS) + b"\0" + arrival.body).hexdigest()
    return Letter(
        key=key,
        message_id=_text(arrival.message_id) or None,
        exchange=_text(exchange),
        routing_key=_text(routing_key),
        reason=_text(reason),
        headers=headers,
        body=arrival.body,
        content_encoding=arrival.content_encoding or None,
        attempts=attempts if isinstance(attempts, int) and 0 <= attempts < 2**31 else 0,
    )


def _origin(arrival: Arrival, headers: dict[str, Any]) -> tuple[str, str, str]:
    """Exchange and routing key the message was published with, and why it died."""
    if arrival.unroutable:
        return COMMANDS, arrival.routing_key, f"unroutable: no command has the routing key {arrival.routing_key!r}"
    reason = headers.get("x-reason")
    if isinstance(reason, str):
        exchange, routing_key = headers.get("x-original-exchange"), headers.get("x-original-routing-key")
        return (
            exchange if isinstance(exchange, str) else COMMANDS,
            routing_key if isinstance(routing_key, str) else arrival.routing_key,
            reason,
        )
    match headers.get("x-death"):
        # The latest death stands first.
        case [{"exchange": str(exchange), "routing-keys": [str(routing_key), *_], "queue": queue, "reason": why}, *_]:
            said = _REASONS.get(why, "{reason} in {queue}") if isinstance(why, str) else "{reason} in {queue}"
            return exchange, routing_key, said.format(queue=queue, reason=why)
    return COMMANDS, arrival.routing_key, "sent to the dead letters without a reason"


def refusal(arrival: Arrival) -> Rejected:
    """What the sender of an unroutable command is told."""
    name = arrival.routing_key.partition(".")[2] or arrival.routing_key
    return invalid(f"there is no command {name!r}; /docs lists those there are", routing_key=arrival.routing_key)


def redriven_headers(letter: KeptLetter) -> dict[str, Any]:
    """The headers a dead letter is published with again."""
    kept = {name: value for name, value in letter.headers.items() if not name.startswith(_HISTORY)}
    return {**kept, "x-redriven-from": letter.id}


def is_confidential(letter: KeptLetter) -> bool:
    """Whether what a message says is for its sender and admins alone: confidential commands, all about sidebars."""
    area, _, name = letter.routing_key.partition(".")
    spec = DECLARED.get(name)
    return area == "sidebar" or (spec is not None and spec.confidential)


def as_noun(letter: KeptLetter, *, to_admin: bool = False) -> DeadLetter:
    """A dead letter as it is shown, with the beginning of its body as text; a confidential one's to an admin only."""
    return DeadLetter(
        dead_letter_id=letter.id,
        message_id=letter.message_id,
        exchange=letter.exchange,
        routing_key=letter.routing_key,
        reason=letter.reason,
        body=_body(letter, BEGINNING, to_admin=to_admin),
        attempts=letter.attempts,
        created=rfc3339(letter.created),
        redriven=rfc3339(letter.redriven) if letter.redriven else None,
    )


def as_whole(found: FoundLetter, *, to_admin: bool) -> WholeDeadLetter:
    """A dead letter with all that is known of it, but for the body of a confidential one: that is for admins."""
    letter = found.letter
    return WholeDeadLetter(
        **{**as_noun(letter).__dict__, "body": _body(letter, MUCH, to_admin=to_admin)},
        headers=letter.headers,
        content_encoding=letter.content_encoding,
        size=found.size,
        waiting=found.waiting,
    )


def added(letter: KeptLetter) -> DeadLetterAdded:
    """The event that tells of a dead letter; the same each time it is made for one letter."""
    return DeadLetterAdded(
        message_id=str(uuid5(_EVENT_IDS, f"{letter.id} {rfc3339(letter.created)}")),
        timestamp=rfc3339(letter.created),
        sender_agent_id="session_worker",
        priority="high",
        trust="untrusted",
        dead_letter=as_noun(letter),
    )


def _body(letter: KeptLetter, length: int, *, to_admin: bool) -> str:
    if is_confidential(letter) and not to_admin:
        return ""
    return _shown(letter.body, letter.content_encoding, length)


def _shown(body: bytes, encoding: str | None, length: int) -> str:
    """The first `length` bytes of a body as text, decompressed if need be; bytes that are no text become U+FFFD."""
    if encoding == "gzip":
        with suppress(zlib.error):  # not gzip after all: shown as it is
            body = zlib.decompressobj(wbits=31).decompress(body, length)
    return _text(body[:length].decode(errors="replace"))


def _text(text: str) -> str:
    """Text that PostgreSQL and JSON take: without NUL and lone surrogates."""
    return text.replace("\0", "�").encode(errors="replace").decode()


def _plain(value: Any) -> Any:
    """A header's value as JSON: tables and lists as they are, moments as RFC 3339, bytes as text."""
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case str():
            return _text(value)
        case bytes() | bytearray():
            return _text(bytes(value).decode(errors="replace"))
        case datetime():
            return rfc3339(value)
        case dict():
            return {_text(str(name)): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return _text(str(value))
