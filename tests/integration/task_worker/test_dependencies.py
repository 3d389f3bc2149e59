"""What tasks wait for: other tasks, moments, schedules; and what an idempotency key stands for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.handling import events_of, result_of


def outcome(worker: Any, task: dict[str, Any]) -> tuple[str, str | None]:
    found = worker.task(task["task_id"])
    return found["status"], found["error_message"]


def test_a_task_waits_until_all_it_depends_on_is_completed(worker):
    first, second = worker.delegate(), worker.delegate()
    third = worker.delegate(depends_on=[first["task_id"], second["task_id"], first["task_id"]])
    assert third["depends_on"] == [first["task_id"], second["task_id"]]
    one, two = worker.claim(count=10)
    worker.complete(one)
    assert worker.claim() == []
    _, events = worker.told("complete_task", task_id=two["task_id"], lease_token=two["lease_token"])
    assert [(event["type"], event["task"]["task_id"]) for event in events] == [
        ("task_completed", two["task_id"]),
        ("task_ready", third["task_id"]),
    ]
    assert [task["task_id"] for task in worker.claim(count=10)] == [third["task_id"]]


def test_what_depends_on_completed_tasks_need_not_wait(worker):
    first = worker.delegate()
    worker.complete(worker.claim()[0])
    second = worker.delegate(depends_on=[first["task_id"]])
    assert [task["task_id"] for task in worker.claim()] == [second["task_id"]]


@pytest.mark.parametrize("end", ["failed", "cancelled", "dead"])
def test_a_task_that_ends_otherwise_fails_all_that_depends_on_it(worker, end):
    first = worker.delegate(max_attempts=1)
    second = worker.delegate(depends_on=[first["task_id"]])
    third = worker.delegate(depends_on=[second["task_id"]])
    unharmed = worker.delegate()
    if end == "cancelled":
        _, events = worker.told("cancel_task", task_id=first["task_id"], reason="no use")
    else:
        data = {"task_id": first["task_id"], "lease_token": worker.claim()[0]["lease_token"], "error_message": "no use"}
        _, events = worker.told("fail_task", **data, retry=end == "dead")
    assert [event["type"] for event in events] == [f"task_{end}", "task_failed", "task_failed"]
    reason = f"task {first['task_id']} it depends on is {end}: no use"
    assert outcome(worker, second) == ("failed", reason)
    assert outcome(worker, third) == ("failed", f"task {second['task_id']} it depends on is failed: {reason}")
    assert [task["task_id"] for task in worker.claim(count=10)] == [unharmed["task_id"]]


def test_what_depends_on_a_failed_task_fails_at_once(worker):
    first = worker.delegate()
    worker.send("cancel_task", task_id=first["task_id"])
    result, events = worker.told(
        "delegate_task", session_id="s1", agent_name="codex", task_type="t", depends_on=[first["task_id"]]
    )
    assert result["task"]["status"] == "failed"
    assert [event["type"] for event in events] == ["task_created", "task_failed"]
    assert outcome(worker, result["task"]) == ("failed", f"task {first['task_id']} it depends on is cancelled")


def test_a_task_brought_back_waits_again_for_what_it_depends_on(worker):
    first = worker.delegate()
    second = worker.delegate(depends_on=[first["task_id"]])
    worker.report("fail_task", worker.claim()[0], error_message="x", retry=False)
    assert "retry that first" in worker.send("retry_task", task_id=second["task_id"])["message"]
    worker.send("retry_task", task_id=first["task_id"])
    assert worker.send("retry_task", task_id=second["task_id"])["task"]["status"] == "pending"
    (again,) = worker.claim(count=10)
    assert again["task_id"] == first["task_id"]
    worker.complete(again)
    assert [task["task_id"] for task in worker.claim()] == [second["task_id"]]


def test_only_tasks_of_the_session_can_be_depended_on(worker):
    foreign = worker.delegate(session_id="s2")
    for task_id in ("nothing", foreign["task_id"]):
        data = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "depends_on": [task_id]}
        refused = worker.send("delegate_task", **data)
        assert (refused["code"], refused["details"]["task_id"]) == ("not_found", task_id)


def test_a_task_waits_for_its_moment(worker):
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    task = worker.delegate(run_at=later)
    assert task["due"] == task["run_at"]
    assert worker.claim() == []
    assert worker.send("run_due_tasks") == {"ready": 0, "made": 0}
    worker.let_time_come()
    result, (event,) = worker.told("run_due_tasks")
    assert (result, event["type"], event["task"]["due"]) == ({"ready": 1, "made": 0}, "task_ready", None)
    assert [each["task_id"] for each in worker.claim()] == [task["task_id"]]


def test_a_moment_that_has_passed_is_no_reason_to_wait(worker):
    task = worker.delegate(run_at="2020-01-01T00:00:00+01:00")
    assert (task["run_at"], task["due"]) == ("2019-12-31T23:00:00.000000Z", None)
    assert len(worker.claim()) == 1


def test_a_task_waits_for_its_moment_after_what_it_depends_on(worker):
    first = worker.delegate()
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    second = worker.delegate(run_at=later, depends_on=[first["task_id"]])
    assert second["due"] is None
    worker.complete(worker.claim()[0])
    waiting = worker.task(second["task_id"])
    assert (waiting["due"], worker.claim()) == (second["run_at"], [])
    worker.let_time_come()
    worker.send("run_due_tasks")
    assert len(worker.claim()) == 1


@pytest.mark.parametrize("wrong", [{"run_at": "2026-02-30T00:00:00Z"}, {"cron": "never"}, {"cron": "0 0 30 2 *"}])
def test_an_impossible_moment_or_schedule_is_invalid(worker, wrong):
    refused = worker.send("delegate_task", session_id="s1", agent_name="codex", task_type="t", **wrong)
    assert refused["code"] == "invalid"


def test_a_schedule_makes_a_task_each_time_and_one_for_all_it_missed(worker):
    schedule = worker.delegate(cron="*/5 * * * *", input_data={"b": 1e2}, priority=8, timeout_s=3)
    assert (schedule["status"], schedule["cron"], worker.claim()) == ("pending", "*/5 * * * *", [])
    worker.sql("update tasks set due = now() - interval '3 days'")
    result, (event,) = worker.told("run_due_tasks")
    assert (result, event["type"]) == ({"ready": 0, "made": 1}, "task_created")
    (made,) = worker.claim(count=10)
    assert (made["schedule_id"], made["cron"], made["priority"], made["timeout_s"]) == (schedule["task_id"], None, 8, 3)
    assert made["input_data"] == {"b": 100}
    # The schedule itself, and the task it has made.
    assert worker.sql("select task_count from sessions where id = 's1'")[0][0] == 2
    following = datetime.fromisoformat(worker.task(schedule["task_id"])["due"])
    assert timedelta(0) < following - datetime.now(UTC) <= timedelta(minutes=5)
    assert [task["task_id"] for task in worker.ask("list_tasks", schedule_id=schedule["task_id"])["tasks"]] == [
        made["task_id"]
    ]


def test_a_cancelled_schedule_makes_nothing_more(worker):
    schedule = worker.delegate(cron="* * * * *")
    worker.send("cancel_task", task_id=schedule["task_id"])
    worker.let_time_come()
    assert worker.send("run_due_tasks") == {"ready": 0, "made": 0}


def test_a_schedule_ends_with_its_session(worker):
    schedule = worker.delegate(cron="* * * * *")
    worker.sql("update sessions set status = 'completed' where id = 's1'")
    worker.let_time_come()
    assert worker.send("run_due_tasks") == {"ready": 0, "made": 0}
    assert outcome(worker, schedule) == ("cancelled", "its session is completed")


def test_nothing_can_depend_on_a_schedule(worker):
    schedule = worker.delegate(cron="* * * * *")
    data = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "depends_on": [schedule["task_id"]]}
    assert worker.send("delegate_task", **data)["code"] == "conflict"
    assert worker.send("delegate_task", **data, cron="* * * * *")["code"] == "invalid"


def test_an_idempotency_key_gives_the_same_task_again(worker):
    asked = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "idempotency_key": "k", "input_data": 1}
    first = worker.send("delegate_task", **asked)["task"]
    again, events = worker.told("delegate_task", **asked)
    assert (again["task"], events) == (first, [])
    assert len(worker.claim(count=10)) == 1
    assert worker.send("delegate_task", **asked)["task"]["status"] == "claimed"
    assert worker.sql("select task_count from sessions where id = 's1'")[0][0] == 1


def test_the_same_input_may_be_spelt_otherwise_under_an_idempotency_key(worker):
    asked = '"session_id":"s1","agent_name":"codex","task_type":"t","idempotency_key":"k","input_data":'
    for spelt in ('{"a":1,"b":2}', '{"b": 2, "a": 1}'):
        (outcome,) = worker.run(worker.write(("delegate_task", f"{{{asked}{spelt}}}")))
        assert result_of(outcome)["task"]["input_data"] == {"a": 1, "b": 2}
    assert len(worker.claim(count=10)) == 1


def test_an_idempotency_key_stands_for_one_content(worker):
    asked = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "idempotency_key": "k"}
    task = worker.send("delegate_task", **asked)["task"]
    refused = worker.send("delegate_task", **asked, priority=6)
    assert (refused["code"], refused["details"]["task_id"]) == ("conflict", task["task_id"])
    for other in ({"session_id": "s2"}, {"agent_name": "researcher"}):
        assert worker.send("delegate_task", **{**asked, **other})["task"]["task_id"] != task["task_id"]


def test_an_idempotency_key_repeated_within_a_batch_makes_one_task(worker):
    asked = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "idempotency_key": "k"}
    same, again, other = worker.run(
        worker.write(("delegate_task", asked), ("delegate_task", asked), ("delegate_task", {**asked, "task_type": "u"}))
    )
    assert same.reply == again.reply
    assert (len(same.events), len(again.events), other.outcome) == (1, 0, "conflict")


def test_within_a_batch_no_event_stands_before_what_it_follows_from(worker):
    first = worker.delegate()
    (held,) = worker.claim()
    data = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "depends_on": [first["task_id"]]}
    report = {"task_id": held["task_id"], "lease_token": held["lease_token"]}
    outcomes = worker.run(worker.write(("complete_task", report), ("delegate_task", data)))
    told = sorted(
        (event for outcome in outcomes for event in events_of(outcome)), key=lambda event: event["session_seq"]
    )
    assert [event["type"] for event in told] == ["task_created", "task_completed", "task_ready"]
