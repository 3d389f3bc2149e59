"""What other programs may put onto the bus, and how to send what no AMQP library would."""

from typing import Any

# Bodies of commands, with the code and a word of the refusal.
POISON: dict[str, tuple[bytes, str, str]] = {
    "bad UTF-8": (b'{"a": "\xff"}', "invalid", "not JSON"),
    "NUL": (rb'{"a": "\u0000"}', "invalid", "NUL"),
    "NaN": (b'{"a": NaN}', "invalid", "not JSON"),
    "a lone surrogate": (rb'{"a": "\ud800"}', "invalid", "not JSON"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "invalid", "nested deeper"),
    "nothing": (b"", "invalid", "not JSON"),
    "no object": (b"[]", "invalid", "JSON object"),
    "wrong types": (b'{"type":"command","message_id":7,"command":"record_insight","data":{}}', "invalid", "message_id"),
    "an unknown command": (
        b'{"type":"command","message_id":"m","command":"drop_tables","data":{}}', "invalid", "drop_tables",
    ),
    "an unknown field": (
        b'{"type":"command","message_id":"m","command":"record_insight","data":{"insight":1,"colour":2}}',
        "invalid", "colour",
    ),
    "2**70 hops": (
        b'{"type":"command","message_id":"m","command":"record_insight","hops":%d,"data":{"insight":1}}' % 2**70,
        "invalid", "hops",
    ),
    "a loop": (
        b'{"type":"command","message_id":"m","command":"record_insight","hops":16,"data":{"insight":1}}',
        "loop", "16 hops",
    ),
    "a command of another worker": (
        b'{"type":"command","message_id":"m","command":"claim_task","data":{"agent_name":"a","worker_id":"w"}}',
        "invalid", "claim_task",
    ),
    "a wrong type within a batch": (
        b'{"type":"command","message_id":"m","command":"batch","data":{"commands":['
        b'{"command":"list_sessions"},{"command":"log_action","data":{"session_id":"s","type":7}}]}}',
        "invalid", "commands[1] (log_action)",
    ),
    "a NUL within a batch": (
        b'{"type":"command","message_id":"m","command":"batch","data":{"commands":['
        rb'{"command":"log_action","data":{"session_id":"s","type":"t","details":"\u0000"}}]}}',
        "invalid", "NUL",
    ),
    "a batch within a batch": (
        b'{"type":"command","message_id":"m","command":"batch","data":{"commands":['
        b'{"command":"batch","data":{"commands":[]}}]}}',
        "invalid", "another batch",
    ),
    "a patch that is no object": (
        b'{"type":"command","message_id":"m","command":"update_state","data":{"session_id":"s","patch":[]}}',
        "invalid", "patch",
    ),
    "a reading command": (
        b'{"type":"command","message_id":"m","command":"get_session","data":{"session_id":"s"}}',
        "invalid", "get_session",
    ),
}  # fmt: skip

# Properties RabbitMQ lets through and few programs can read.
STRANGE: dict[str, dict[str, Any]] = {
    "a reply address that is no UTF-8": {"reply_to": b"\xff" * 255},
    "an id that is no UTF-8": {"message_id": b"\xff\xfe" * 100},
    "an id with a NUL": {"message_id": b"a\x00b"},
    "a header that is no UTF-8": {"headers": b"\x02\xff\xfeS\x00\x00\x00\x01\xff"},
    "a moment after the year 9999": {"headers": b"\x04whenT" + (2**62).to_bytes(8, "big")},
    "headers that leave no room for a reason": {"headers": b"\x01aS" + (130_900).to_bytes(4, "big") + b"x" * 130_900},
    "a number that can't be sent on": {"headers": b"\x01aD\xff\xff\xff\xff\xff"},
    "an attempt that is no number": {"headers": b"\x09x-attemptS\x00\x00\x00\x01x"},
}


def raw_publish(
    exchange: str,
    routing_key: str,
    body: bytes,
    *,
    headers: bytes = b"",
    message_id: bytes = b"",
    reply_to: bytes = b"",
) -> bytes:
    """A basic.publish whose properties are any bytes."""

    def short(raw: bytes) -> bytes:
        return bytes((len(raw),)) + raw

    flags, properties = 0, b""
    for bit, value in ((13, headers and len(headers).to_bytes(4, "big") + headers), (9, short(reply_to)), (7, short(message_id))):  # fmt: skip  # noqa: E501
        if len(value) > 1:
            flags |= 1 << bit
            properties += value
    method = b"\x00\x3c\x00\x28\x00\x00" + short(exchange.encode()) + short(routing_key.encode()) + b"\x00"
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + flags.to_bytes(2, "big") + properties
    return b"".join(
        bytes((kind,)) + b"\x00\x01" + len(payload).to_bytes(4, "big") + payload + b"\xce"
        for kind, payload in ((1, method), (2, header), (3, body))
    )
