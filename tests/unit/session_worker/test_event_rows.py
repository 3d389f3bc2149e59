"""Events of the stream as rows of the table."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.session_worker.event_rows import row_of
from services.session_worker.queries.event_log import with_cursor
from services.session_worker.store.events import EventLog
from shared.bus.tail import StreamEvent
from shared.messages import JsonText
from shared.messages.session import LlmConversationInsight

LOG = EventLog("e1", 100, 120, None, True)


def an_event(body: bytes, *, message_id: str = "") -> StreamEvent:
    return StreamEvent(21, "session.s1.insight", body, message_id)


def test_an_event_keeps_its_own_words_and_its_columns_say_the_same():
    insight = JsonText(b'{"z":1e5,"a":36893488147419103232,"t":"\\u00e9"}')
    event = LlmConversationInsight(session_id="s1", session_seq=3, insight=insight, sender_agent_id="x")
    row = row_of(an_event(event.encoded()), LOG)
    assert row.message_id == event.message_id
    assert event.encoded() in row.text
    columns = json.loads(row.text)
    del columns["body"]
    assert columns == {
        "cursor": 121,
        "timestamp": event.timestamp,
        "message_id": event.message_id,
        "type": "llm_conversation_insight",
        "routing_key": "session.s1.insight",
        "session_id": "s1",
        "session_seq": 3,
    }


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'"x"', b"\xff", b'{"a":"\\u0000"}', b"[" * 100_000, b"NaN"])
def test_what_is_no_json_object_makes_no_row(body):
    assert row_of(an_event(body), LOG) is None


HEAD = b'{"message_id":"m","type":"x","timestamp":"2026-01-01T00:00:00Z","more":'


@pytest.mark.parametrize("more", [b"[" * 100_000 + b"]" * 100_000, b'"\xff"', b'"\\ud800"', b"NaN", b"01", b"[", b""])
def test_an_event_with_a_member_that_is_no_json_makes_no_row(more):
    assert row_of(an_event(HEAD + more + b"}"), LOG) is None


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"type":"x"}',
        b'{"message_id":7,"type":"x","timestamp":"2026-01-01T00:00:00Z"}',
        b'{"message_id":"m","type":"x","timestamp":"yesterday"}',
        b'{"message_id":"m","type":"x","timestamp":"2026-01-01T00:00:00"}',
        b'{"message_id":"","type":"x","timestamp":"2026-01-01T00:00:00Z"}',
        b'{"message_id":"m","type":"x","timestamp":"2026-01-01T00:00:00Z","session_seq":99999999999999999999}',
    ],
)
def test_an_object_that_is_no_event_gets_what_it_lacks(body):
    row = json.loads(row_of(an_event(body), LOG).text)
    assert row["body"] == json.loads(body)
    assert row["message_id"] == (json.loads(body).get("message_id") if b'"m"' in body else "e1:21")
    assert row["session_id"] is None
    assert row["type"] in ("x", "unknown")


def test_the_id_of_the_amqp_message_is_taken_before_one_is_made():
    assert row_of(an_event(b"{}", message_id="amqp-1"), LOG).message_id == "amqp-1"


@given(st.datetimes().map(lambda moment: f"{moment.isoformat()}+02:00"))
def test_any_moment_with_a_zone_is_taken_as_utc(moment):
    body = json.dumps({"message_id": "m", "type": "x", "timestamp": moment}).encode()
    timestamp = json.loads(row_of(an_event(body), LOG).text)["timestamp"]
    assert timestamp.endswith("Z")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_does_not_exist_in_utc_becomes_that_of_the_recording(moment):
    body = b'{"message_id":"m","type":"t","timestamp":"%b"}' % moment.encode()
    row = json.loads(row_of(an_event(body), LOG).text)
    assert (row["message_id"], row["type"], row["body"]["timestamp"]) == ("m", "t", moment)
    assert "2000" < row["timestamp"] < "3000"


@given(st.binary(max_size=300))
def test_no_body_makes_it_fail(body):
    row_of(an_event(body), LOG)


def test_the_cursor_is_spliced_in_as_the_last_member():
    assert with_cursor(JsonText(b'{"a":1e5} '), 7).text == b'{"a":1e5,"cursor":7}'
    assert with_cursor(JsonText(b"{}"), 7).text == b'{"cursor":7}'
    assert with_cursor(JsonText(b"{ \n}"), 7).text == b'{"cursor":7}'
    assert with_cursor(JsonText(b'{"a":{}}'), 7).text == b'{"a":{},"cursor":7}'


def test_moments_have_microseconds():
    row = row_of(an_event(b'{"message_id":"m","type":"x","timestamp":"2026-01-01T00:00:00Z"}'), LOG)
    assert b'"2026-01-01T00:00:00.000000Z"' in row.text
