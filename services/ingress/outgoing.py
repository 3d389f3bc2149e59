"""Commands ready for the bus, built by splicing what came in: a payload's bytes are never touched."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from shared.bus.bodies import COMPRESS_FROM, packed
from shared.errors import Rejected, invalid
from shared.messages import COMMANDS, CommandSpec, now
from shared.messages.envelope import delivery_message_id
from shared.messages.partitions import routing_key_of

_RECEIVE_WEBHOOK = COMMANDS["receive_webhook"].routing_key
# An AMQP short string, which carries the id, holds 255 bytes.
MAX_ID_BYTES = 255
# RabbitMQ 4 refuses messages over 16 MiB by default, and ends the connection over it.
BROKER_LIMIT = 16_000_000


class Outgoing(NamedTuple):
    """A command as it is published."""

    routing_key: str
    message_id: str
    body: bytes
    content_encoding: str
    traceparent: str


class Spoken(NamedTuple):
    """What a webhook says to a bot: the `data` of a chat_message as JSON, and how many hops it has come.

    `caller`: the key it came by, when its source has not vouched for it by a secret of its own.
    """

    data: bytes
    hops: int = 0
    caller: str | None = None


async def pack(message: Outgoing) -> Outgoing:
    """The message as it travels: a large one compressed. Raises `Rejected("too_large")` if no broker would take it."""
    if len(message.body) <= COMPRESS_FROM or message.content_encoding:
        return message
    body, encoding = await asyncio.to_thread(packed, message.body)
    if len(body) > BROKER_LIMIT:
        raise Rejected(
            "too_large", f"the message takes {len(body)} bytes even compressed, a broker takes {BROKER_LIMIT}"
        )
    return message._replace(body=body, content_encoding=encoding)


def command(spec: CommandSpec, envelope: Mapping[str, Any], data: bytes, traceparent: str) -> Outgoing:
    """A command with `data`, already checked, spliced in as it was written; `envelope` has at least its message id."""
    body = orjson.dumps(
        {"type": "command", "command": spec.name, "timestamp": now(), **envelope, "data": orjson.Fragment(data)}
    )
    return Outgoing(routing_key_of(spec, data), envelope["message_id"], body, "", traceparent)


def receive_webhook(
    source: str,
    event: str,
    action: str | None,
    delivery_id: str,
    payload: bytes,
    traceparent: str,
    spoken: Spoken | None = None,
) -> Outgoing:
    """A verified webhook as the command `receive_webhook`; every copy of a delivery has the same message id."""
    message_id = delivery_message_id(source, delivery_id)
    chat = b',"chat":%b,"chat_hops":%d' % spoken[:2] if spoken else b""
    caller = b',"caller":%b' % orjson.dumps(spoken.caller) if spoken and spoken.caller else b""
    body = b"".join(
        (
            b'{"type":"command","message_id":"',
            message_id.encode(),
            b'","command":"receive_webhook","timestamp":"',
            now().encode(),
            b'","sender_agent_id":"webhook","trust":"untrusted"',
            caller,
            b',"data":',
            orjson.dumps({"source": source, "event": event, "action": action, "delivery_id": delivery_id})[:-1],
            b',"payload":',
            payload,
            chat,
            b"}}",
        )
    )
    return Outgoing(_RECEIVE_WEBHOOK, message_id, body, "", traceparent)


def check_message_id(text: str) -> str:
    """A message id that AMQP can carry. Raises `Rejected("invalid")`."""
    if not text or len(text.encode()) > MAX_ID_BYTES or any(c < " " or c == "\x7f" for c in text):
        raise invalid(
            f"a message id is 1 to {MAX_ID_BYTES} bytes of text without control characters",
            fields=[{"field": "message_id", "fault": "not an id", "kind": "id"}],
        )
    return text
