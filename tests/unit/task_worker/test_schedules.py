"""Moments and schedules."""

from datetime import UTC, datetime

import pytest

from services.task_worker import schedules
from shared.errors import Rejected

START = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", "2026-01-02T03:05:00+00:00"),
        ("*/15 * * * *", "2026-01-02T03:15:00+00:00"),
        ("0 9 * * mon", "2026-01-05T09:00:00+00:00"),
        ("* * * * * *", "2026-01-02T03:04:06+00:00"),
        ("*/10 * * * * *", "2026-01-02T03:04:10+00:00"),
        ("30 0 12 * * *", "2026-01-02T12:00:30+00:00"),
        ("@daily", "2026-01-03T00:00:00+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_the_next_time_of_a_schedule_is_in_utc(cron, expected):
    assert schedules.next_time(cron, START).isoformat() == expected


@pytest.mark.parametrize(
    "cron",
    ["", "nonsense", "* * * *", "60 * * * *", "* * * * * * *", "0 0 30 2 *", "*/0 * * * *", "a b c d e", "@never"],
)
def test_what_is_no_schedule_is_invalid(cron):
    with pytest.raises(Rejected) as raised:
        schedules.next_time(cron, START)
    assert raised.value.code == "invalid"


def test_a_moment_is_read_with_its_offset():
    assert schedules.moment("2026-01-02T03:04:05.5+02:00") == datetime(2026, 1, 2, 1, 4, 5, 500000, tzinfo=UTC)
    assert schedules.moment("2026-01-02t03:04:05z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert schedules.moment(None) is None


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2026-01-02T25:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_an_impossible_moment_is_invalid(text):
    with pytest.raises(Rejected) as raised:
        schedules.moment(text)
    assert raised.value.code == "invalid"
