"""Frames by hand against pamqp, which is the reference; and a connection fed in pieces."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import body as amqp_body
from pamqp import commands as amqp
from pamqp import encode as amqp_encode
from pamqp import frame as pamqp_frame
from pamqp import header as amqp_header
from pamqp import heartbeat as amqp_heartbeat

from shared.bus import frames
from shared.bus.connection import CHANNEL, Connection
from shared.bus.frames import Delivery

SHORT = st.text(max_size=60)
# pamqp refuses other names of exchanges.
NAMES = st.from_regex(r"[a-zA-Z0-9._:-]{0,40}", fullmatch=True)
HEADERS = st.dictionaries(
    st.text(min_size=1, max_size=20),
    st.text(max_size=40) | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none(),
    max_size=4,
)


def unmarshal_all(data: bytes) -> list[Any]:
    found = []
    while data:
        size, channel, value = pamqp_frame.unmarshal(data)
        assert channel in (0, CHANNEL)
        found.append(value)
        data = data[size:]
    return found


@given(
    exchange=SHORT, routing_key=SHORT, body=st.binary(max_size=5000), mandatory=st.booleans(),
    persistent=st.booleans(), message_id=SHORT, correlation_id=SHORT, reply_to=SHORT, expiration=SHORT,
    content_encoding=SHORT, headers=HEADERS, frame_max=st.integers(4096, 4200),
)  # fmt: skip
def test_a_publish_is_what_pamqp_reads(
    exchange: str, routing_key: str, body: bytes, mandatory: bool, frame_max: int, **properties: Any
) -> None:
    data = frames.publish_frames(
        CHANNEL, frame_max, exchange, routing_key, body, mandatory=mandatory, **properties
    )  # fmt: skip
    method, header, *bodies = unmarshal_all(data)

    assert isinstance(method, amqp.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == (exchange, routing_key, mandatory)
    assert isinstance(header, amqp_header.ContentHeader)
    assert header.body_size == len(body)
    read = header.properties
    assert (read.content_type, read.delivery_mode) == ("application/json", 2 if properties["persistent"] else None)
    for name in ("message_id", "correlation_id", "reply_to", "expiration", "content_encoding"):
        assert getattr(read, name) == (properties[name] or None)
    assert (read.headers or {}) == properties["headers"]
    assert b"".join(each.value for each in bodies) == body
    assert all(len(each.value) <= frame_max - 8 for each in bodies)


@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 8176, 8177])
def test_a_body_is_cut_at_the_limit_of_a_frame_and_nowhere_else(size: int) -> None:
    data = frames.publish_frames(CHANNEL, 4096, "", "q", b"x" * size, mandatory=False)
    assert [len(each.value) for each in unmarshal_all(data)[2:]] == {
        0: [], 1: [1], 4088: [4088], 4089: [4088, 1], 8176: [4088, 4088], 8177: [4088, 4088, 1],
    }[size]  # fmt: skip


def test_what_does_not_fit_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="255 bytes, not 256"):
        frames.publish_frames(CHANNEL, 4096, "", "é" * 128, b"", mandatory=False)
    with pytest.raises(ValueError, match="headers take"):
        frames.publish_frames(CHANNEL, 4096, "", "q", b"", mandatory=False, headers={"a": "x" * 5000})


def test_an_ack_and_a_heartbeat_are_what_pamqp_reads() -> None:
    ack, single = unmarshal_all(
        frames.ack_frame(CHANNEL, 2**40, multiple=True) + frames.ack_frame(CHANNEL, 1, multiple=False)
    )
    assert (ack.delivery_tag, ack.multiple, single.delivery_tag, single.multiple) == (2**40, True, 1, False)
    assert isinstance(unmarshal_all(frames.heartbeat_frame())[0], amqp_heartbeat.Heartbeat)


def deliver(
    tag: int, body: bytes, *, consumer: str = "q-0", exchange: str = "e", routing_key: str = "k", **properties: Any
) -> bytes:
    """A delivery as the broker sends it, by pamqp."""
    parts = [
        pamqp_frame.marshal(amqp.Basic.Deliver(consumer, tag, False, exchange, routing_key), CHANNEL),
        pamqp_frame.marshal(
            amqp_header.ContentHeader(0, len(body), amqp.Basic.Properties(**properties)), CHANNEL
        ),
    ]  # fmt: skip
    parts += [
        pamqp_frame.marshal(amqp_body.ContentBody(body[at : at + 100]), CHANNEL) for at in range(0, len(body), 100)
    ]
    return b"".join(parts)


def receive(data: bytes, cuts: list[int]) -> list[list[Delivery]]:
    """What a consumer is handed when a connection reads these bytes, cut at these places."""

    async def read() -> list[list[Delivery]]:
        connection = Connection(10)
        bursts: list[list[Delivery]] = []
        connection._consumers["q-0"] = bursts.append
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if end > start:
                connection.data_received(data[start:end])
        return bursts

    return asyncio.run(read())


@settings(max_examples=60)
@given(
    bodies=st.lists(st.binary(max_size=250), min_size=1, max_size=4),
    exchange=NAMES, routing_key=SHORT, message_id=SHORT, correlation_id=SHORT, reply_to=SHORT,
    content_encoding=SHORT, headers=HEADERS, data=st.data(),
)  # fmt: skip
def test_deliveries_are_the_same_wherever_the_reads_are_cut(
    bodies: list[bytes], exchange: str, routing_key: str, data: st.DataObject, **properties: Any
) -> None:
    # Properties that are not of interest, before and after those that are.
    more = {"content_type": "text/x", "priority": 3, "timestamp": datetime.now(UTC), "app_id": "a", "user_id": "u"}
    wire = b"".join(
        deliver(tag, body, exchange=exchange, routing_key=routing_key, **properties, **more)
        for tag, body in enumerate(bodies, 1)
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    found = [delivery for burst in receive(wire, cuts) for delivery in burst]

    assert [delivery.body for delivery in found] == bodies
    assert [delivery.tag for delivery in found] == list(range(1, len(bodies) + 1))
    for delivery in found:
        assert (delivery.exchange, delivery.routing_key) == (exchange, routing_key)
        assert delivery.headers == properties["headers"]
        for name in ("message_id", "correlation_id", "reply_to", "content_encoding"):
            assert getattr(delivery, name) == properties[name]


def test_a_delivery_is_whole_only_with_its_last_byte() -> None:
    wire = deliver(1, b"b" * 150, message_id="m1", headers={"a": 1})
    for at in range(1, len(wire)):
        (burst,) = receive(wire, [at])
        assert [(each.body, each.message_id) for each in burst] == [(b"b" * 150, "m1")]


def test_what_arrives_in_one_read_stays_together() -> None:
    wire = deliver(1, b"one") + deliver(2, b"") + deliver(3, b"three")
    assert [[each.body for each in burst] for burst in receive(wire, [])] == [[b"one", b"", b"three"]]


def header_of(table: bytes) -> Delivery:
    """A delivery whose header table is these bytes."""
    delivery = Delivery(1, False, "e", "k")
    properties = len(table).to_bytes(4, "big") + table
    payload = b"\x00\x3c\x00\x00" + (7).to_bytes(8, "big") + (1 << 13).to_bytes(2, "big") + properties
    assert frames.read_content_header(payload, delivery) == 7
    return delivery


# Tables RabbitMQ lets through and pamqp does not read.
STRANGE_TABLES = {
    "a moment after the year 9999": b"\x04whenT" + (2**62).to_bytes(8, "big"),
    "a name that is no UTF-8": b"\x02\xff\xfeS\x00\x00\x00\x01x",
    "a type nobody knows": b"\x01aZ\x00",
    "a string longer than the table": b"\x01aS\x00\x00\xff\xffx",
    "a decimal of 255 places": b"\x01aD\xff\x00\x00\x00\x01",
}


@pytest.mark.parametrize("name", STRANGE_TABLES)
def test_headers_nobody_can_read_are_no_headers(name: str) -> None:
    headers = header_of(STRANGE_TABLES[name]).headers
    amqp_encode.field_table(headers)  # whatever was read can be sent on


def test_headers_of_every_kind_can_be_sent_on() -> None:
    table = {
        "x-death": [{"count": 2, "time": datetime(2026, 1, 1, tzinfo=UTC), "queue": "q", "routing-keys": ["k"]}],
        "decimal": Decimal("1.5"), "float": 1.5, "none": None, "bytes": bytearray(b"\xff"), "nested": {"a": [True]},
    }  # fmt: skip
    read = header_of(amqp_encode.field_table(table)[4:]).headers
    assert read == table
    assert header_of(amqp_encode.field_table(read)[4:]).headers == table


@given(st.binary(max_size=60))
def test_any_bytes_as_headers_are_read_or_dropped(table: bytes) -> None:
    assert isinstance(header_of(table).headers, dict)


@pytest.mark.parametrize("raw", [b"\xff" * 255, b"\xc3" * 255, "é".encode()[:1] + b"a" * 254])
def test_a_name_that_is_no_utf8_can_be_sent_on(raw: bytes) -> None:
    """A reply address or an id nobody can read must not become longer than AMQP lets it be."""
    payload = frames.METHOD.to_bytes(4, "big") + b"\x01c" + b"\x00" * 9 + b"\x00" + bytes((len(raw),)) + raw
    _, delivery = frames.read_deliver(payload)
    frames.publish_frames(CHANNEL, 4096, "", delivery.routing_key, b"", mandatory=False)


def test_a_stream_offset_is_read_from_the_broker_s_header_alone() -> None:
    offset = b"\x0fx-stream-offsetl" + (42).to_bytes(8, "big")
    forged = b"\x0fx-stream-offsetl" + (7).to_bytes(8, "big")
    assert header_of(offset).stream_offset == 42
    assert header_of(b"\x01aS" + len(forged).to_bytes(4, "big") + forged + offset).stream_offset == 42
    assert header_of(offset + b"\x01zS" + len(forged).to_bytes(4, "big") + forged).stream_offset == 42
    with pytest.raises(LookupError):
        _ = header_of(b"").stream_offset
