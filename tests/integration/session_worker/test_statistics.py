"""Statistics over sessions and actions."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.session_worker.conftest import SessionWorker


@pytest.fixture(scope="module")
def history(module_worker: SessionWorker) -> Iterator[SessionWorker]:
    """Three sessions of two days of March, of which two have ended, with five actions; and one of today."""
    worker = module_worker
    for name in ("a", "b", "c", "today"):
        worker.do("create_session", session_id=name)
    for name, count in (("a", 3), ("b", 2), ("today", 1)):
        for _ in range(count):
            worker.do("log_action", session_id=name, type="step")
    worker.do("complete_session", session_id="a")
    worker.do("fail_session", session_id="b")
    worker.do("archive_session", session_id="b")
    for name, created, ended in (
        ("a", "2026-03-01 10:00+00", "2026-03-01 10:30+00"),
        ("b", "2026-03-02 23:00+00", "2026-03-03 00:30+00"),
        ("c", "2026-03-02 01:00+02", None),
    ):
        worker.sql("update sessions set created = :at where id = :id", at=created, id=name)
        worker.sql("update actions set created = :at where session_id = :id", at=created, id=name)
        worker.sql(
            "update session_transitions set at = :at where session_id = :id and to_status in ('completed', 'failed')",
            at=ended,
            id=name,
        )
    yield worker


MARCH = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-31T00:00:00Z"}


def test_sessions_are_counted_by_status_and_by_day(history: SessionWorker) -> None:
    stats = history.ask("session_stats", **MARCH)["stats"]
    assert stats["by_status"] == {"active": 1, "paused": 0, "completed": 1, "failed": 0, "archived": 1}
    assert stats["by_day"] == [
        {"day": "2026-03-01", "sessions": 2, "actions": 3},
        {"day": "2026-03-02", "sessions": 1, "actions": 2},
    ]
    assert (stats["sessions"], stats["actions"]) == (3, 5)


def test_actions_per_minute_and_the_mean_duration_are_of_the_stretch_of_time(history: SessionWorker) -> None:
    stats = history.ask("session_stats", since="2026-03-01T00:00:00Z", until="2026-03-03T00:00:00Z")["stats"]
    assert stats["actions_per_minute"] == round(5 / (2 * 24 * 60), 6)
    assert stats["mean_duration_s"] == 3600


def test_a_stretch_in_which_nothing_happened_has_no_mean(history: SessionWorker) -> None:
    stats = history.ask("session_stats", since="2025-03-01T00:00:00Z", until="2025-03-02T00:00:00Z")["stats"]
    assert (stats["sessions"], stats["by_day"], stats["mean_duration_s"]) == (0, [], None)


def test_the_last_thirty_days_are_counted_unless_told(history: SessionWorker) -> None:
    stats = history.ask("session_stats")["stats"]
    assert (stats["sessions"], stats["actions"], stats["by_status"]["active"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "asked",
    [
        {"since": MARCH["until"], "until": MARCH["since"]},
        {"since": "2020-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "2026-02-31T00:00:00Z"},
    ],
)
def test_an_impossible_stretch_of_time_is_refused(history: SessionWorker, asked: dict[str, Any]) -> None:
    assert history.ask("session_stats", **asked)["code"] == "invalid"
