"""What the end of an attempt means for a callback."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.task_worker.callbacks.verdicts import (
    KEEP_TRYING_SECONDS,
    LONGEST_WAIT_SECONDS,
    Answer,
    backoff,
    of_answer,
    of_failure,
    of_refusal,
    retry_after,
)

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def test_a_day_is_filled_with_attempts_further_and_further_apart():
    age, waits = 0.0, []
    while (verdict := of_failure("no answer", len(waits) + 1, age)).wait is not None:
        assert verdict.status == "pending"
        waits.append(verdict.wait)
        age += verdict.wait
    assert verdict.status == "failed"
    assert KEEP_TRYING_SECONDS - 1.25 * LONGEST_WAIT_SECONDS < age <= KEEP_TRYING_SECONDS
    assert 25 < len(waits) < 45
    assert [round(wait / 5 / 2**number) for number, wait in enumerate(waits[:8])] == [1] * 8


@given(st.integers(1, 10_000))
def test_a_wait_is_never_much_more_than_an_hour(number):
    assert 3.75 <= backoff(number) <= 1.25 * LONGEST_WAIT_SECONDS


def test_those_that_failed_together_do_not_come_back_together():
    assert len({backoff(5) for _ in range(20)}) > 10


@given(st.integers(100, 599), st.integers(1, 50), st.floats(0, 2 * KEEP_TRYING_SECONDS))
def test_every_answer_ends_it_or_names_the_next_attempt(status, number, age):
    verdict = of_answer(Answer(status), number, age, NOW)
    assert (verdict.status == "pending") == (verdict.wait is not None)
    assert (verdict.status == "delivered") == (200 <= status < 300)
    assert (verdict.status == "gone") == (status == 410)
    assert (verdict.status == "refused") == (300 <= status < 400)
    assert verdict.http_status == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("7", 7), (" 7 ", 7), ("99999999999999999999", 3600), ("", 0), ("-1", 0), ("1.5", 0),
        ("٣", 0), ("soon", 0),
        ("Thu, 01 Jan 2026 12:10:00 GMT", 600), ("Thu, 01 Jan 2026 12:10:00 -0000", 600),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0), ("Fri, 01 Jan 2027 12:00:00 GMT", 3600), ("Thu, 99 Jan 2026", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_a_date_and_honoured_within_an_hour(value, seconds):
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=60))
def test_whatever_retry_after_says_nothing_breaks(value):
    assert 0 <= retry_after(value, NOW) <= LONGEST_WAIT_SECONDS


def test_what_is_kept_is_short_and_can_be_stored():
    verdict = of_answer(Answer(500, body=b"\x00\xff" + b"x" * 1_000), 1, 0, NOW)
    assert verdict.response is not None
    assert len(verdict.response) == 200
    assert "\0" not in verdict.response
    for verdict in (of_failure("x\0" * 1_000, 1, 0), of_refusal("x\0" * 1_000)):
        assert verdict.error is not None
        assert len(verdict.error) <= 500
        assert "\0" not in verdict.error
