"""claim_task and complete_task on a real database."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import orjson

from services.task_worker.store import claims
from tests.integration.handling import result_of


def test_a_claim_leases_a_task_for_a_minute(worker):
    task = worker.delegate()
    (claimed,) = worker.claim(worker_id="w7")
    assert claimed["task_id"] == task["task_id"]
    assert (claimed["status"], claimed["attempt"], claimed["claimed_by"]) == ("claimed", 1, "w7")
    assert len(claimed["lease_token"]) >= 20
    lease = datetime.fromisoformat(claimed["lease_expires"]) - datetime.fromisoformat(claimed["started"])
    assert lease == timedelta(seconds=60)
    assert worker.claim() == []


def test_the_event_goes_to_the_tasks_session_and_keeps_the_lease_secret(worker):
    worker.delegate()
    worker.run(worker.do("delegate_task", session_id="s2", agent_name="codex", task_type="t"))
    (outcome,) = worker.run(worker.write(("claim_task", {"agent_name": "codex", "worker_id": "w", "count": 2})))
    assert [event.routing_key for event in outcome.events] == ["task.s1.claimed", "task.s2.claimed"]
    for event in outcome.events:
        assert "lease" not in event.body
        body = orjson.loads(event.body)
        assert (body["type"], body["session_seq"], body["task"]["status"]) == ("task_claimed", 2, "claimed")


def test_higher_priorities_come_first_and_then_the_oldest(worker):
    made = [worker.delegate(priority=priority)["task_id"] for priority in (5, 9, 0, 5, 9)]
    claimed = [task["task_id"] for task in worker.claim(count=4)]
    assert claimed == [made[1], made[4], made[0], made[3]]
    assert [task["task_id"] for task in worker.claim(count=50)] == [made[2]]


def test_tasks_delegated_in_one_batch_are_claimed_in_its_order(worker):
    asked = [("delegate_task", {"session_id": "s1", "agent_name": "codex", "task_type": str(n)}) for n in range(20)]
    worker.run(worker.write(*asked))
    assert [task["task_type"] for task in worker.claim(count=20)] == [str(number) for number in range(20)]


def test_a_claim_takes_only_its_own_agents_tasks(worker):
    worker.delegate("researcher")
    assert worker.claim("codex") == []
    assert len(worker.claim("researcher")) == 1


def test_claiming_for_an_unknown_agent_is_not_found(worker):
    refused = worker.run(worker.do("claim_task", agent_name="nobody", worker_id="w"))
    assert refused["code"] == "not_found"
    assert "claude_code, codex, researcher" in refused["message"]


def test_claimers_at_once_never_get_one_task_twice(worker):
    worker.fill(200)

    async def claimer(name: str) -> list[str]:
        taken: list[str] = []
        while tasks := (await worker.do("claim_task", agent_name="codex", worker_id=name, count=7))["tasks"]:
            taken += [task["task_id"] for task in tasks]
        return taken

    async def race() -> list[list[str]]:
        return await asyncio.gather(*(claimer(f"w{number}") for number in range(8)))

    taken = worker.run(race())
    assert sorted(task_id for each in taken for task_id in each) == sorted(f"t{number}" for number in range(1, 201))
    assert sum(bool(each) for each in taken) > 1
    rows = worker.sql("select count(distinct lease_token) as leases, max(attempt) as attempts from tasks")
    assert tuple(rows[0]) == (200, 1)


def test_no_claim_waits_for_a_task_that_another_is_claiming(worker):
    first, second = worker.delegate()["task_id"], worker.delegate()["task_id"]

    async def both() -> list[Any]:
        async with worker.database.transaction() as slow:
            found = (await claims.find_agents(slow, ["codex"]))["codex"].queues_for(frozenset())
            taken = await claims.claim_tasks(slow, found, workers=["slow"], tokens=["a"], ageing_seconds=60)
            other = await worker.do("claim_task", agent_name="codex", worker_id="quick")
            return [taken[0].task_id, other["tasks"][0]["task_id"]]

    assert worker.run(both()) == [first, second]


def test_an_agents_limit_bounds_what_is_in_hand(worker):
    worker.sql("update agents set max_concurrent = 3 where name = 'codex'")
    for _ in range(5):
        worker.delegate()
    held = worker.claim(count=2)
    assert len(held) == 2
    assert len(worker.claim(count=50)) == 1
    assert worker.claim(count=50) == []
    worker.complete(held[0])
    assert len(worker.claim(count=50)) == 1


def test_claimers_at_once_never_pass_an_agents_limit(worker):
    worker.sql("update agents set max_concurrent = 10 where name = 'codex'")
    worker.fill(50)

    async def race() -> int:
        claims = (worker.do("claim_task", agent_name="codex", worker_id=f"w{n}", count=3) for n in range(8))
        return sum(len(result["tasks"]) for result in await asyncio.gather(*claims))

    assert worker.run(race()) == 10


def test_a_completed_task_keeps_its_output_and_leaves_the_queue(worker):
    worker.delegate(input_data=1)
    (claimed,) = worker.claim()
    data = {"task_id": claimed["task_id"], "lease_token": claimed["lease_token"], "output_data": {"files": 3}}
    (outcome,) = worker.run(worker.write(("complete_task", data)))
    task = orjson.loads(outcome.reply)["result"]["task"]
    assert (task["status"], task["output_data"], task["claimed_by"]) == ("completed", {"files": 3}, "w1")
    assert task["completed"] >= task["started"] >= task["created"]
    assert outcome.events[0].routing_key == "task.s1.completed"
    assert orjson.loads(outcome.events[0].body)["task"] == task
    assert worker.ask("get_task", task_id=task["task_id"])["task"] == task
    assert worker.claim() == []


def test_completing_twice_with_one_lease_is_a_conflict_that_says_so(worker):
    worker.delegate()
    (claimed,) = worker.claim()
    worker.complete(claimed)
    refused = worker.complete(claimed)
    assert refused["code"] == "conflict"
    assert "already completed with this lease" in refused["message"]


def test_a_claim_repeated_by_another_key_tells_no_lease(worker):
    worker.delegate()
    claim = ("claim_task", {"agent_name": "codex", "worker_id": "w1"})
    (first,) = worker.run(worker.commit(worker.command(*claim, message_id="c1", caller="ada")))
    (again,) = worker.run(worker.commit(worker.command(*claim, message_id="c1", caller="ada")))
    (other,) = worker.run(worker.commit(worker.command(*claim, message_id="c1", caller="eve")))
    assert result_of(first)["tasks"][0]["lease_token"]
    assert result_of(again) == result_of(first)
    assert result_of(other)["code"] == "conflict"


def test_completing_needs_the_tasks_own_lease(worker):
    task = worker.delegate()
    assert worker.complete(task, lease_token="made up")["code"] == "conflict"
    (claimed,) = worker.claim()
    assert worker.complete(claimed, lease_token="made up")["code"] == "conflict"
    assert worker.complete(claimed, lease_token="wéird")["code"] == "conflict"
    assert worker.ask("get_task", task_id=task["task_id"])["task"]["status"] == "claimed"
    unknown = worker.run(worker.do("complete_task", task_id="nothing", lease_token="x"))
    assert unknown["code"] == "not_found"
