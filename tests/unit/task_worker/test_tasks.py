"""The rules of tasks."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.task_worker import tasks
from services.task_worker.tasks import Held
from shared.errors import Rejected
from shared.messages import JsonText
from shared.messages.task import ClaimedTask, Task, TaskStatus

NOW = "2026-01-02T03:04:05.000000Z"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATUSES: tuple[TaskStatus, ...] = get_args(TaskStatus)


def task(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "task_id": "t1",
        "session_id": "s1",
        "agent_name": "codex",
        "task_type": "t",
        "description": None,
        "priority": 5,
        "status": "claimed",
        "input_data": JsonText(b"1e5"),
        "output_data": None,
        "error_message": None,
        "attempt": 1,
        "max_attempts": 3,
        "timeout_s": None,
        "depends_on": [],
        "capabilities": [],
        "run_at": None,
        "due": None,
        "cron": None,
        "schedule_id": None,
        "idempotency_key": None,
        "callback_url": None,
        "claimed_by": "w1",
        "created": NOW,
        "started": NOW,
        "completed": None,
    }
    return Task(**{**fields, **changes})


def held(lease: str | None = "lease", deadline: datetime | None = None, **changes: Any) -> Held:
    return Held(task(**changes), lease, deadline, MOMENT)


def test_every_status_has_its_row_in_the_transition_table():
    assert set(tasks.TRANSITIONS) == set(STATUSES)


def test_only_retry_task_leads_out_of_an_end():
    assert {status: tasks.TRANSITIONS[status] for status in tasks.ENDS} == {
        "completed": frozenset(),
        "cancelled": frozenset(),
        "failed": frozenset({"pending"}),
        "dead": frozenset({"pending"}),
    }


def test_the_table_can_be_read_backwards():
    assert sorted(tasks.may_become("completed")) == ["claimed", "running"]
    assert tasks.may_become("running") == ["claimed"]
    assert set(tasks.may_become("cancelled")) == {"pending", "claimed", "running"}


@pytest.mark.parametrize("status", STATUSES)
def test_another_lease_is_refused_as_such(status):
    refusal = tasks.refused_report(held("another", status=status), "lease", "completed")
    assert refusal.code == "conflict"
    assert "not, or no longer, its own" in refusal.message
    assert refusal.details == {"task_id": "t1", "status": status}


def test_a_refusal_tells_what_has_become_of_the_lease():
    assert "already completed" in tasks.refused_report(held(status="completed"), "lease", "completed").message
    over = held(deadline=MOMENT - timedelta(seconds=1), timeout_s=30.0)
    assert "its 30 s are over" in tasks.refused_report(over, "lease", "kept").message
    assert "can't be kept any more" in tasks.refused_report(held(status="cancelled"), "lease", "kept").message


@pytest.mark.parametrize("status", ["claimed", "running"])
def test_a_failed_attempt_waits_for_the_next(status):
    moved, event = tasks.fail(held(status=status), "no network", retry=True)
    assert (moved.status, moved.claimed_by, moved.started, moved.completed) == ("pending", None, None, None)
    assert moved.error_message == "no network"
    assert (event.type, event.reason, event.due) == ("task_retrying", "no network", moved.due)
    wait = datetime.fromisoformat(moved.due) - MOMENT
    assert timedelta(seconds=0.75) <= wait <= timedelta(seconds=1.25)


def test_the_last_failed_attempt_leaves_the_task_dead():
    moved, event = tasks.fail(held(attempt=3), "no network", retry=True)
    assert (moved.status, moved.completed, moved.due) == ("dead", NOW, None)
    assert event.type == "task_dead"


def test_a_failure_that_is_not_to_be_retried_is_final():
    moved, event = tasks.fail(held(), "no such repository", retry=False)
    assert (moved.status, moved.error_message, moved.completed) == ("failed", "no such repository", NOW)
    assert (event.type, event.reason) == ("task_failed", "no such repository")


def test_a_lapsed_lease_goes_back_at_once():
    moved, event = tasks.lapse(held())
    assert (moved.status, moved.claimed_by, moved.started, moved.due) == ("pending", None, None, None)
    assert event.type == "task_requeued"
    assert event.reason == "the lease of w1 lapsed in attempt 1 of 3"


def test_a_lease_that_lapsed_in_the_last_attempt_leaves_the_task_dead():
    moved, event = tasks.lapse(held(attempt=3))
    assert (moved.status, moved.error_message) == ("dead", "the lease of w1 lapsed in attempt 3 of 3")
    assert (moved.completed, moved.claimed_by, event.type) == (NOW, "w1", "task_dead")


def test_an_attempt_that_took_too_long_has_failed():
    moved, event = tasks.lapse(held(deadline=MOMENT, timeout_s=2.5))
    assert (moved.status, event.type) == ("pending", "task_retrying")
    assert moved.due is not None
    assert event.reason == "attempt 1 of 3 by w1 took longer than 2.5 s"
    assert tasks.lapse(held(deadline=MOMENT, timeout_s=2.5, attempt=3))[0].status == "dead"


@pytest.mark.parametrize("status", sorted(tasks.ENDS))
def test_what_has_ended_can_t_be_cancelled(status):
    with pytest.raises(Rejected, match="can't become cancelled") as raised:
        tasks.cancel(held(status=status), None)
    assert raised.value.code == "conflict"


@pytest.mark.parametrize("status", ["pending", "claimed", "running"])
def test_whatever_has_not_ended_can_be_cancelled(status):
    moved, event = tasks.cancel(held(status=status, due=NOW), "not needed")
    assert (moved.status, moved.error_message, moved.due, moved.completed) == ("cancelled", "not needed", None, NOW)
    assert (event.type, event.reason) == ("task_cancelled", "not needed")


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("dead", "failed")])
def test_only_dead_and_failed_tasks_are_brought_back(status):
    with pytest.raises(Rejected):
        tasks.revive(held(status=status), "ada")


def test_a_task_brought_back_has_all_of_its_attempts_again():
    moved, event = tasks.revive(held(status="dead", attempt=3, error_message="x", completed=NOW), "ada")
    assert (moved.status, moved.attempt, moved.error_message, moved.completed) == ("pending", 0, None, None)
    assert (event.type, event.reason) == ("task_requeued", "brought back by ada")


@given(st.integers(1, 100))
def test_backoff_doubles_up_to_five_minutes_give_or_take_a_quarter(attempt):
    plain = min(2.0 ** (attempt - 1), 300.0)
    assert 0.75 * plain <= tasks.backoff(attempt) <= 1.25 * plain


@pytest.mark.parametrize(
    ("limit", "wanted", "in_hand", "count"),
    [(0, 50, 1000, 50), (3, 50, 0, 3), (3, 2, 0, 2), (3, 2, 2, 1), (3, 2, 5, 0)],
)
def test_an_agents_limit_counts_what_is_in_hand(limit, wanted, in_hand, count):
    assert tasks.claimable(limit, wanted, in_hand) == count


def test_the_event_of_a_claim_holds_no_lease():
    claimed = ClaimedTask(**task().__dict__, lease_token="secret", lease_expires=NOW)
    event = tasks.claimed(claimed)
    assert event.task == task()
    assert b"secret" not in event.encoded()


def test_lease_tokens_are_all_different():
    assert len(set(tasks.lease_tokens(50))) == 50


def test_the_refusal_of_an_unknown_agent_names_those_there_are():
    assert "registered are: a, b" in tasks.unknown_agent("x", ["a", "b"]).message
    assert "registered are: none" in tasks.unknown_agent("x", []).message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com", "https://hooks.example.com/…"),
        ("http://hooks.example.com:80/a/b?c#d", "http://hooks.example.com:80/…"),
        ("https://[2001:db8::1]:9?key=x", "https://[2001:db8::1]:9/…"),
        ("https://ada:hidden@hooks.example.com/", "https://hooks.example.com/…"),
        ("https://hooks.example.com\\hidden@x", "https://hooks.example.com/…"),
    ],
)
def test_of_a_callbacks_url_scheme_and_host_are_shown(url, shown):
    assert tasks.shown_target(url) == shown
    assert (tasks.is_shown_target(shown), tasks.is_shown_target(url)) == (True, False)
