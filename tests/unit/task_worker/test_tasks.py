"""The rules of tasks."""

from typing import Any, get_args

import pytest

from services.task_worker import tasks
from services.task_worker.tasks import Agent, Held
from shared.errors import Rejected
from shared.messages import JsonText
from shared.messages.task import ClaimedTask, Task, TaskStatus

NOW = "2026-01-02T03:04:05.000000Z"
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
        "claimed_by": "w1",
        "created": NOW,
        "started": NOW,
        "completed": None,
    }
    return Task(**{**fields, **changes})


def held(lease: str | None = "lease", **changes: Any) -> Held:
    return Held(task(**changes), lease, NOW)


def test_every_status_has_its_row_in_the_transition_table():
    assert set(tasks.TRANSITIONS) == set(STATUSES)


@pytest.mark.parametrize("status", ["claimed", "running"])
def test_a_task_in_hand_is_completed_under_its_lease(status):
    done, event = tasks.complete(held(status=status), "lease", JsonText(b'{"b":1}'))
    assert (done.status, done.completed, done.output_data) == ("completed", NOW, JsonText(b'{"b":1}'))
    assert (event.type, event.session_id, event.task) == ("task_completed", "s1", done)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("lease", [None, "another", ""])
def test_another_lease_completes_nothing(status, lease):
    with pytest.raises(Rejected, match="not, or no longer, its own") as raised:
        tasks.complete(held(lease, status=status), "lease", None)
    assert raised.value.code == "conflict"
    assert raised.value.details == {"task_id": "t1", "status": status}


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("claimed", "running")])
def test_a_task_that_is_not_in_hand_is_not_completed(status):
    with pytest.raises(Rejected) as raised:
        tasks.complete(held(status=status), "lease", None)
    assert raised.value.code == "conflict"


def test_completing_again_says_that_it_was_done():
    with pytest.raises(Rejected, match="'t1' is completed: it was already completed with this lease"):
        tasks.complete(held(status="completed"), "lease", None)


@pytest.mark.parametrize(("attempt", "status"), [(1, "pending"), (2, "pending"), (3, "dead"), (4, "dead")])
def test_a_lapsed_lease_leads_back_to_the_queue_until_the_last_attempt(attempt, status):
    moved, event = tasks.lapse(held(attempt=attempt))
    assert moved.status == status
    assert event.type == ("task_requeued" if status == "pending" else "task_dead")
    assert event.task == moved


def test_a_task_back_in_its_queue_has_no_claimer():
    moved, _ = tasks.lapse(held())
    assert (moved.claimed_by, moved.started, moved.completed, moved.error_message) == (None, None, None, None)


def test_a_dead_task_tells_whose_lease_lapsed():
    moved, _ = tasks.lapse(held(attempt=3))
    assert moved.error_message == "the lease of w1 lapsed in attempt 3 of 3"
    assert (moved.completed, moved.claimed_by) == (NOW, "w1")


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("claimed", "running")])
def test_only_a_task_in_hand_can_lapse(status):
    with pytest.raises(Rejected):
        tasks.lapse(held(status=status))


@pytest.mark.parametrize(
    ("limit", "wanted", "in_hand", "count"),
    [(0, 50, 1000, 50), (3, 50, 0, 3), (3, 2, 0, 2), (3, 2, 2, 1), (3, 2, 5, 0)],
)
def test_an_agents_limit_counts_what_is_in_hand(limit, wanted, in_hand, count):
    assert tasks.claimable(Agent("codex", limit), wanted, in_hand) == count


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
