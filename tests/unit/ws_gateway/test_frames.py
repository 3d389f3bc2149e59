"""Frames as bytes: headers of every length, the cursor spliced in, and large payloads left behind."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.stream.frames import (
    CRITICAL,
    event_frame,
    gap,
    message,
    overtaken_by,
    overtaking,
    recorded_frame,
    text_frame,
)
from tests.unit.ws_gateway.wire import payloads, texts


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_a_frame_of_any_length_reads_back(size: int) -> None:
    assert payloads(text_frame(b"x" * size) + text_frame(b"y")) == [(1, b"x" * size), (1, b"y")]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()), st.integers(min_value=0, max_value=2**60))
def test_an_event_goes_out_as_it_came_with_its_cursor_at_the_end(fields: dict[str, object], cursor: int) -> None:
    body = json.dumps({**fields, "type": "test", "message_id": "m1", "priority": "high"}).encode()
    frame = event_frame(cursor, "a.b", body)
    ((opcode, payload),) = payloads(frame.data)
    assert (opcode, payload) == (1, body[:-1] + b',"cursor":%d}' % cursor)
    assert (frame.cursor, frame.routing_key, frame.message_id, frame.rank) == (cursor, "a.b", "m1", 1)


def test_numbers_and_white_space_stay_as_they_were_written() -> None:
    frame = event_frame(7, "a", b'{"type": "test", "n": 1e5, "big": 1180591620717411303424 }\n')
    assert payloads(frame.data)[0][1] == b'{"type": "test", "n": 1e5, "big": 1180591620717411303424 ,"cursor":7}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"type":1}',
        b"{",
        b'{"type":"a"}x',
        b'{"type":"a","t":"\xff"}',
        b'{"type":"a","n":NaN}',
        b'{"type":"a","n":' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_makes_no_frame(body: bytes) -> None:
    with pytest.raises(ValueError):
        event_frame(1, "a", body)


def test_an_unknown_priority_counts_as_normal_and_urgent_as_critical() -> None:
    assert event_frame(1, "a", b'{"type":"a","priority":"extreme"}').rank == 2
    assert event_frame(1, "a", b'{"type":"a","priority":"urgent"}').rank == CRITICAL


def test_a_payload_over_a_megabyte_is_named_instead_of_sent() -> None:
    body = json.dumps(
        {"type": "webhook", "delivery_id": 'd"1', "payload": {"a": "x" * 1_000_001}, "action": None}
    ).encode()
    (sent,) = texts(event_frame(3, "webhook.github.push", body).data)
    assert sent == {"type": "webhook", "delivery_id": 'd"1', "payload_ref": 'd"1', "action": None, "cursor": 3}
    small = json.dumps(
        {"type": "webhook", "delivery_id": "d1", "payload": "x" * 999_000, "more": "y" * 10_000}
    ).encode()
    assert "payload" in texts(event_frame(3, "w", small).data)[0]


def test_an_event_from_the_table_keeps_the_cursor_it_holds() -> None:
    frame = recorded_frame("a.b", b'{"cursor":9,"type":"test","message_id":"m"}')
    assert (frame.cursor, frame.routing_key) == (9, "a.b")
    assert texts(frame.data) == [{"cursor": 9, "type": "test", "message_id": "m"}]


def test_an_event_that_overtakes_says_from_where_to_resume() -> None:
    for size in (0, 200, 70_000):
        frame = event_frame(12, "a", json.dumps({"type": "test", "text": "x" * size}).encode())
        (sent,) = texts(overtaking(frame, 9))
        assert (sent["cursor"], sent["since"], len(sent["text"])) == (12, 9, size)
        for later, least in ((11, 9), (5, 5)):
            (sent,) = texts(overtaking(overtaken_by(frame, 9), later))
            assert (sent["cursor"], sent["since"], len(sent)) == (12, least, 4)


def test_messages_of_the_gateways_own_are_text_frames() -> None:
    assert texts(message("pong", correlation_id="x") + gap(1, 2, "retention")) == [
        {"type": "pong", "correlation_id": "x"},
        {"type": "gap", "from": 1, "to": 2, "reason": "retention"},
    ]
