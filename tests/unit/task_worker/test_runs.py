"""Which state of a run may follow which, and what reports make of one."""

from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from services.task_worker.runs import pacing, rules
from services.task_worker.runs.rules import TRANSITIONS, TaskNow
from shared.errors import Rejected
from shared.messages import JsonText
from shared.messages.runs import AgentReport, Run, RunState

RUN_ID = "0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f51"
AT = datetime(2026, 2, 10, 12, 0, 0, tzinfo=UTC)
LATER = datetime(2026, 2, 10, 12, 1, 0, tzinfo=UTC)
STATES: tuple[RunState, ...] = get_args(RunState)
REPORTED: tuple[RunState, ...] = tuple(state for state in STATES if state != "lost")


def data(**fields: Any) -> AgentReport:
    return AgentReport(run_id=RUN_ID, **fields)


def run_in(state: RunState, **fields: Any) -> Run:
    run = rules.begin(data(agent_name="codex", session_id="s1", **fields), "runner", AT).run
    return run.model_copy(update={"state": state})


def reported(
    run: Run, task: TaskNow | None = None, before_loss: RunState | None = None, **fields: Any
) -> rules.Reported:
    return rules.report(run, data(**fields), "runner", LATER, before_loss=before_loss, task=task)


@pytest.mark.parametrize("was", STATES)
@pytest.mark.parametrize("state", REPORTED)
def test_only_the_moves_of_the_table_are_made(was: RunState, state: RunState) -> None:
    run = run_in(was)
    if state == was:
        assert reported(run, state=state).transition is None
    elif state in TRANSITIONS[was]:
        moved = reported(run, state=state, cause="so it was")
        assert moved.transition is not None
        assert (moved.transition.was, moved.run.state) == (was, state)
        assert moved.run.ended == (None if state in rules.LIVE else "2026-02-10T12:01:00.000000Z")
        assert len(moved.events) == 1
    else:
        with pytest.raises(Rejected) as refused:
            reported(run, state=state)
        assert (refused.value.code, refused.value.details["state"]) == ("conflict", was)


def test_every_state_has_a_row_and_an_end_has_nothing_after_it() -> None:
    assert set(TRANSITIONS) == set(STATES) == {*rules.LIVE, *rules.ENDS, "lost"}
    assert all(not TRANSITIONS[end] for end in rules.ENDS)
    assert all(TRANSITIONS[state] >= rules.ENDS for state in (*rules.LIVE, "lost"))


def test_a_run_is_named_by_its_agent_and_the_time() -> None:
    assert run_in("starting").name == "codex-20260210T120000"
    assert run_in("starting", name="nightly").name == "nightly"


def test_a_lost_run_goes_on_where_it_was_and_says_why() -> None:
    found = reported(run_in("lost"), before_loss="paused")
    assert (found.run.state, found.run.cause) == ("paused", "found again")
    assert reported(run_in("lost"), before_loss="paused", state="running", cause="resumed").run.cause == (
        "found again: resumed"
    )


@pytest.mark.parametrize(
    ("task", "is_refused"),
    [
        (TaskNow("running", 1, "w1"), False),
        (TaskNow("claimed", 1, "w1"), False),
        (TaskNow("running", 2, "w2"), True),
        (TaskNow("pending", 1, None), True),
        (TaskNow("completed", 1, None), True),
    ],
)
def test_a_lost_run_stays_lost_once_its_task_is_in_other_hands(task: TaskNow, is_refused: bool) -> None:
    run = run_in("lost", task_id="t1", attempt=1)
    if not is_refused:
        assert reported(run, task, state="running").run.state == "running"
        return
    with pytest.raises(Rejected) as refused:
        reported(run, task, state="running")
    assert refused.value.details["reason"] == "task_given_away"
    assert reported(run, task, state="failed").run.state == "failed"


def test_json_without_secrets_stays_as_it_was_written() -> None:
    written = JsonText(b'{"z":1e2, "text":"a\\nb"}')
    run = reported(run_in("running"), state="completed", result=written).run
    assert run.result == written
    hidden = JsonText(b'{"n":1,"api_key":"abcdef0123456789","list":["auth_token=abcdef0123456789"]}')
    run = reported(run_in("running"), state="completed", result=hidden).run
    assert "abcdef0123456789" not in str(run.result)


def test_a_run_pauses_once_it_is_a_second_ahead() -> None:
    paid = pacing.paid_until(AT, AT, 10_000, 10_000)
    assert pacing.pause(paid, AT) == 0
    paid = pacing.paid_until(paid, AT, 5_000, 10_000)
    assert pacing.pause(paid, AT) == 0.5
    # What was not used before is not saved up.
    assert pacing.pause(pacing.paid_until(paid, LATER, 10_000, 10_000), LATER) == 0
    assert pacing.cost("") == 1 and pacing.cost("x" * 1024) == 5
