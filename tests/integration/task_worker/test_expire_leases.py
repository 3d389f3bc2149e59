"""expire_leases on a real database."""

import asyncio
from typing import Any

import orjson

from services.task_worker.handlers import timers


def expire(worker: Any) -> tuple[dict[str, int], list[dict[str, Any]]]:
    (outcome,) = worker.run(worker.write(("expire_leases", {})))
    return orjson.loads(outcome.reply)["result"], [orjson.loads(event.body) for event in outcome.events]


def test_a_live_lease_is_left_alone(worker):
    worker.delegate()
    worker.claim()
    assert expire(worker) == ({"requeued": 0, "dead": 0}, [])


def test_a_lapsed_lease_puts_the_task_back_into_its_place(worker):
    first = worker.delegate()
    worker.delegate()
    (claimed,) = worker.claim()
    worker.let_leases_lapse()
    result, (event,) = expire(worker)
    assert result == {"requeued": 1, "dead": 0}
    assert (event["type"], event["session_id"], event["task"]["status"]) == ("task_requeued", "s1", "pending")
    assert (event["task"]["claimed_by"], event["task"]["started"], event["task"]["attempt"]) == (None, None, 1)
    assert worker.ask("get_task", task_id=first["task_id"])["task"] == event["task"]
    (again,) = worker.claim(worker_id="w2")
    assert (again["task_id"], again["attempt"], again["claimed_by"]) == (first["task_id"], 2, "w2")
    assert again["lease_token"] != claimed["lease_token"]


def test_a_late_completion_with_the_old_lease_is_a_conflict(worker):
    worker.delegate()
    (old,) = worker.claim()
    worker.let_leases_lapse()
    expire(worker)
    assert worker.complete(old)["code"] == "conflict"
    (new,) = worker.claim()
    assert worker.complete(old)["code"] == "conflict"
    assert worker.complete(new)["task"]["status"] == "completed"
    assert "no longer, its own" in worker.complete(old)["message"]


def test_a_completion_in_time_wins_over_a_lease_that_has_lapsed_unnoticed(worker):
    worker.delegate()
    (claimed,) = worker.claim()
    worker.let_leases_lapse()
    assert worker.complete(claimed)["task"]["status"] == "completed"
    assert expire(worker)[0] == {"requeued": 0, "dead": 0}


def test_after_its_last_attempt_a_task_is_dead_and_says_why(worker):
    task = worker.delegate(max_attempts=2)
    for _ in range(2):
        worker.claim(worker_id="w9")
        worker.let_leases_lapse()
        result, (event,) = expire(worker)
    assert result == {"requeued": 0, "dead": 1}
    assert (event["type"], event["task"]["status"]) == ("task_dead", "dead")
    assert event["task"]["error_message"] == "the lease of w9 lapsed in attempt 2 of 2"
    assert worker.claim() == []
    assert worker.ask("get_task", task_id=task["task_id"])["task"] == event["task"]


def test_one_run_takes_a_bounded_number_those_that_lapsed_first(worker, monkeypatch):
    monkeypatch.setattr(timers, "AT_ONCE", 20)
    worker.sql("""
        insert into tasks
            (id, session_id, agent_name, queue, task_type, status, attempt, max_attempts, lease_token, lease_expires)
        select 't' || n, 's1', 'codex', 1, 't', 'claimed', 1, 1 + n % 2, 'x', now() - n * interval '1 second'
        from generate_series(1, 45) as n
    """)
    results = []
    while (result := expire(worker)[0]) != {"requeued": 0, "dead": 0}:
        results.append(result)
    assert results[:2] == [{"requeued": 10, "dead": 10}] * 2
    assert sum(each["requeued"] + each["dead"] for each in results) == 45


def test_two_runs_at_once_expire_each_lease_once(worker):
    for _ in range(30):
        worker.delegate()
    worker.claim(count=30)
    worker.let_leases_lapse()

    async def race() -> list[Any]:
        return await asyncio.gather(*(worker.write(("expire_leases", {})) for _ in range(4)))

    results = [orjson.loads(outcome.reply)["result"] for (outcome,) in worker.run(race())]
    assert sum(result["requeued"] for result in results) == 30
