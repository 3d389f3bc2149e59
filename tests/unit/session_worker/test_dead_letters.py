"""Where a dead letter came from, why it is one, and how it is shown."""

import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.session_worker.dead_letters import Arrival, added, as_noun, letter_of, redriven_headers, refusal
from services.session_worker.store.dead_letters import KeptLetter

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def an_arrival(headers=None, **more) -> Arrival:
    given = {
        "exchange": "switchyard.dead-letters",
        "routing_key": "memory.store_memory",
        "headers": headers or {},
        "body": b"{}",
        "content_encoding": "",
        "message_id": "m1",
        "correlation_id": "",
        "reply_to": "",
    }
    return Arrival(**{**given, **more})


def a_kept(body: bytes = b"{}", **more) -> KeptLetter:
    letter = {
        "id": 7, "message_id": "m1", "exchange": "switchyard.commands", "routing_key": "memory.store_memory",
        "reason": "because", "headers": {}, "body": body, "content_encoding": None, "attempts": 1, "created": MOMENT,
        "redriven": None,
    }  # fmt: skip
    return KeptLetter(**{**letter, **more})


def death(reason: str, **more):
    return {
        "x-death": [
            {
                "count": 1,
                "reason": reason,
                "queue": "memory.commands",
                "time": MOMENT,
                "exchange": "switchyard.commands",
                "routing-keys": ["memory.store_memory"],
                **more,
            },
            {"count": 1, "reason": "expired", "queue": "switchyard.retry.1s", "exchange": "switchyard.retry.1s"},
        ]
    }


def test_a_workers_own_reason_comes_first():
    headers = {
        **death("expired"),
        "x-reason": "the body is not JSON",
        "x-attempt": 3,
        "x-original-exchange": "switchyard.commands",
        "x-original-routing-key": "memory.x",
    }
    letter = letter_of(an_arrival(headers))
    assert (letter.exchange, letter.routing_key) == ("switchyard.commands", "memory.x")
    assert (letter.reason, letter.attempts) == ("the body is not JSON", 3)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("rejected", "rejected by the consumer of memory.commands"),
        ("delivery_limit", "given back to memory.commands too often"),
        ("maxlen", "memory.commands was full"),
        ("expired", "expired in memory.commands"),
        ("something_new", "something_new in memory.commands"),
    ],
)
def test_else_the_brokers_latest_death_tells_it(reason, said):
    letter = letter_of(an_arrival(death(reason)))
    assert letter.reason.startswith(said)
    assert (letter.exchange, letter.routing_key) == ("switchyard.commands", "memory.store_memory")


def test_a_message_no_queue_took_still_bears_its_exchange():
    arrival = an_arrival(exchange="switchyard.commands", routing_key="memory.no_such")
    letter = letter_of(arrival)
    assert "unroutable" in letter.reason
    assert (letter.exchange, letter.routing_key) == ("switchyard.commands", "memory.no_such")
    assert refusal(arrival).code == "invalid"
    assert "'no_such'" in refusal(arrival).message


def test_a_message_without_any_history_is_kept_all_the_same():
    assert letter_of(an_arrival()).reason == "sent to the dead letters without a reason"


def test_each_delivery_of_a_letter_has_one_key():
    once = letter_of(an_arrival(death("rejected"))).key
    again = letter_of(an_arrival({**death("rejected"), "x-delivery-count": 4})).key
    assert once == again


@pytest.mark.parametrize(
    "other",
    [
        an_arrival(death("rejected"), body=b"{ }"),
        an_arrival(death("rejected"), message_id="m2"),
        an_arrival(death("expired")),
        an_arrival({**death("rejected"), "x-redriven-from": 7}),
    ],
)
def test_other_letters_have_other_keys(other):
    assert letter_of(other).key != letter_of(an_arrival(death("rejected"))).key


def test_a_redriven_message_starts_without_its_history():
    headers = {**letter_of(an_arrival(death("rejected"))).headers, "traceparent": "00-1-2-01", "x-attempt": 5,
               "x-reason": "r", "x-original-exchange": "e", "x-first-death-queue": "q"}  # fmt: skip
    assert redriven_headers(a_kept(headers=headers)) == {"traceparent": "00-1-2-01", "x-redriven-from": 7}


def test_headers_of_any_kind_become_json():
    headers = letter_of(an_arrival({"a": b"\xff", "b": [MOMENT, {"c": None}], "d": 2**80, "e": "\0"})).headers
    assert json.loads(json.dumps(headers)) == {
        "a": "�",
        "b": ["2026-01-01T00:00:00.000000Z", {"c": None}],
        "d": str(2**80),
        "e": "�",
    }


def test_the_body_is_shown_as_text_and_cut():
    assert as_noun(a_kept(b"\xff\x00ok")).body == "��ok"
    assert len(as_noun(a_kept(b"x" * 50_000)).body) == 10_000
    assert as_noun(a_kept(gzip.compress(b"y" * 50_000), content_encoding="gzip")).body == "y" * 10_000
    assert as_noun(a_kept(gzip.compress(b"cut short" * 99)[:20], content_encoding="gzip")) is not None
    assert as_noun(a_kept(b"not gzip", content_encoding="gzip")).body == "not gzip"


def test_the_event_of_a_letter_is_the_same_each_time():
    assert added(a_kept()).encoded() == added(a_kept()).encoded()
    assert added(a_kept()).message_id != added(a_kept(id=8)).message_id
    assert added(a_kept()).routing_key() == "system.dead_letter"


@pytest.mark.parametrize(
    ("routing_key", "body"),
    [
        ("memory.store_memory", "said"),
        ("session.no_such_command", "said"),
        ("sidebar.post_to_sidebar", ""),
        ("sidebar.no_such_command", ""),
        ("session.batch", ""),
        ("task.claim_task", ""),
    ],
)
def test_the_event_of_a_letter_keeps_to_itself_what_a_confidential_command_says(routing_key, body):
    assert added(a_kept(b"said", routing_key=routing_key)).dead_letter.body == body


@given(
    st.dictionaries(
        st.sampled_from(["x-death", "x-reason", "x-attempt", "x-original-exchange", "other"]),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes()),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    ),
    st.binary(max_size=50),
)
def test_no_message_is_too_strange_to_be_kept(headers, body):
    letter = letter_of(an_arrival(headers, body=body))
    assert letter.reason is not None
    assert as_noun(a_kept(body, headers=letter.headers)) is not None
