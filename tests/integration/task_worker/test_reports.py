"""start_task, heartbeat_task, fail_task, cancel_task and retry_task on a real database."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.task_worker.store import claims
from shared.messages import new_id


def held(worker: Any, **data: Any) -> dict[str, Any]:
    worker.delegate(**data)
    (task,) = worker.claim()
    return task


def expire(worker: Any) -> dict[str, int]:
    return worker.send("expire_leases")


def come(worker: Any) -> dict[str, int]:
    worker.let_time_come()
    return worker.send("run_due_tasks")


def test_a_started_task_runs_and_is_then_completed(worker):
    task = held(worker)
    data = {"task_id": task["task_id"], "lease_token": task["lease_token"]}
    result, (event,) = worker.told("start_task", **data)
    assert (result["task"]["status"], event["type"], event["session_seq"]) == ("running", "task_started", 3)
    again, events = worker.told("start_task", **data)
    assert (again["task"], events) == (result["task"], [])
    assert worker.complete(task)["task"]["status"] == "completed"
    assert worker.report("start_task", task)["code"] == "conflict"


def test_secrets_in_what_a_run_has_brought_are_masked(worker):
    token = "ghp_" + "Ab3dEf6h" * 4
    task = held(worker)
    failed = worker.report("fail_task", task, error_message=f"exit code 3: {token} was refused")
    assert failed["task"]["error_message"] == "exit code 3: ghp_Ab3d…[masked:github_token] was refused"
    kept, shown = held(worker), {"result": {"token": token}}
    assert worker.complete(kept, output_data=shown)["task"]["output_data"] == shown
    task, run_id = held(worker), new_id()
    worker.send("agent_report", run_id=run_id, agent_name="codex", session_id="s1", task_id=task["task_id"], attempt=1)
    done = worker.complete(task, output_data={"run_id": run_id, **shown})["task"]
    assert done["output_data"] == {"run_id": run_id, "result": {"token": "ghp_Ab3d…[masked:github_token]"}}


def test_a_heartbeat_extends_the_lease(worker):
    task = held(worker)
    worker.sql("update tasks set lease_expires = now() + interval '1 second'")
    kept = worker.report("heartbeat_task", task)["task"]
    assert kept["lease_token"] == task["lease_token"]
    assert datetime.fromisoformat(kept["lease_expires"]) > datetime.fromisoformat(task["lease_expires"])


def test_reports_of_one_batch_about_one_task_keep_their_order(worker):
    task = held(worker)
    data = {"task_id": task["task_id"], "lease_token": task["lease_token"]}
    started, kept, done, late = worker.run(
        worker.write(("start_task", data), ("heartbeat_task", data), ("complete_task", data), ("complete_task", data))
    )
    assert [outcome.outcome for outcome in (started, kept, done, late)] == ["ok", "ok", "ok", "conflict"]


@pytest.mark.parametrize("name", ["start_task", "heartbeat_task", "complete_task", "fail_task"])
def test_an_old_lease_reports_nothing(worker, name):
    task = held(worker)
    worker.let_leases_lapse()
    expire(worker)
    extra = {"error_message": "x"} if name == "fail_task" else {}
    for lease in (task["lease_token"], "made up"):
        assert worker.report(name, task, lease_token=lease, **extra)["code"] == "conflict"
    assert worker.task(task["task_id"])["status"] == "pending"
    assert worker.report(name, {**task, "task_id": "nothing"}, **extra)["code"] == "not_found"


@pytest.mark.parametrize(
    "name", ["start_task", "heartbeat_task", "complete_task", "fail_task", "cancel_task", "retry_task"]
)
def test_a_task_of_another_session_than_the_one_named_is_not_found(worker, name):
    task = held(worker)
    data = {"task_id": task["task_id"], "session_id": "s2"}
    data |= {} if name in ("cancel_task", "retry_task") else {"lease_token": task["lease_token"]}
    data |= {"error_message": "x"} if name == "fail_task" else {}
    assert worker.send(name, **data)["code"] == "not_found"
    assert worker.ask("get_task", task_id=task["task_id"], session_id="s2")["code"] == "not_found"


def test_a_failed_attempt_waits_and_is_tried_again(worker):
    task = held(worker, max_attempts=2)
    data = {"task_id": task["task_id"], "lease_token": task["lease_token"], "error_message": "no network"}
    result, (event,) = worker.told("fail_task", **data)
    assert (event["type"], event["reason"], event["due"]) == ("task_retrying", "no network", result["task"]["due"])
    assert (result["task"]["status"], worker.claim()) == ("pending", [])
    assert come(worker) == {"ready": 1, "made": 0}
    (again,) = worker.claim()
    assert (again["attempt"], again["error_message"], again["due"]) == (2, "no network", None)
    result, (event,) = worker.told("fail_task", **{**data, "lease_token": again["lease_token"]})
    assert (event["type"], result["task"]["status"], result["task"]["error_message"]) == (
        "task_dead",
        "dead",
        "no network",
    )


def test_a_failure_without_retry_is_final(worker):
    task = held(worker)
    assert worker.report("fail_task", task, error_message="no such file", retry=False)["task"]["status"] == "failed"
    assert worker.claim() == []


def test_a_lease_never_lasts_beyond_the_tasks_time(worker):
    task = held(worker, timeout_s=5)
    lease = datetime.fromisoformat(task["lease_expires"]) - datetime.fromisoformat(task["started"])
    assert lease == timedelta(seconds=5)
    kept = worker.report("heartbeat_task", task)["task"]
    assert kept["lease_expires"] == task["lease_expires"]


def test_when_its_time_is_over_the_attempt_has_failed_and_the_lease_is_void(worker):
    task = held(worker, timeout_s=5, max_attempts=1)
    worker.sql("update tasks set deadline = now() - interval '1 s', lease_expires = now() - interval '1 s'")
    assert "5 s are over" in worker.complete(task)["message"]
    assert worker.report("fail_task", task, error_message="late")["code"] == "conflict"
    assert expire(worker) == {"requeued": 0, "dead": 1}
    dead = worker.task(task["task_id"])
    assert (dead["status"], dead["error_message"]) == ("dead", "attempt 1 of 1 by w1 took longer than 5 s")


def test_a_holder_learns_of_a_cancellation_at_its_next_heartbeat(worker):
    task = held(worker)
    result, (event,) = worker.told("cancel_task", task_id=task["task_id"], reason="not needed")
    assert (result["task"]["status"], event["type"], event["reason"]) == ("cancelled", "task_cancelled", "not needed")
    for name in ("heartbeat_task", "complete_task"):
        assert worker.report(name, task)["code"] == "conflict"
    assert worker.send("cancel_task", task_id=task["task_id"])["code"] == "conflict"
    assert expire(worker) == {"requeued": 0, "dead": 0}


def test_a_cancelled_task_is_never_claimed(worker):
    task = worker.delegate()
    worker.send("cancel_task", task_id=task["task_id"])
    assert worker.claim() == []
    assert worker.send("retry_task", task_id=task["task_id"])["code"] == "conflict"


def test_a_cancellation_does_not_wait_for_a_claim_that_waits_for_its_session(worker):
    task = worker.delegate()

    async def both() -> dict[str, Any]:
        async with worker.database.transaction() as slow:
            found = (await claims.find_agents(slow, ["codex"]))["codex"].queues_for(frozenset())
            await claims.claim_tasks(slow, found, workers=["w"], tokens=["a"], ageing_seconds=60)
            cancelling = asyncio.ensure_future(worker.do("cancel_task", task_id=task["task_id"]))
            await asyncio.wait([cancelling], timeout=0.2)
            assert not cancelling.done()
        return await cancelling

    assert worker.run(both())["task"]["status"] == "cancelled"


@pytest.mark.parametrize("end", ["dead", "failed"])
def test_retry_task_brings_a_task_back_with_all_of_its_attempts(worker, end):
    task = held(worker, max_attempts=1)
    worker.report("fail_task", task, error_message="x", retry=end == "dead")
    assert worker.task(task["task_id"])["status"] == end
    result, (event,) = worker.told("retry_task", task_id=task["task_id"])
    assert (result["task"]["status"], result["task"]["attempt"], event["type"]) == ("pending", 0, "task_requeued")
    assert event["reason"] == "brought back by ada"
    assert worker.task(task["task_id"]) == result["task"] == event["task"]
    (again,) = worker.claim()
    assert (again["task_id"], again["attempt"], again["error_message"]) == (task["task_id"], 1, None)
    assert worker.send("retry_task", task_id=task["task_id"])["code"] == "conflict"
