"""Two task workers as processes, between RabbitMQ and PostgreSQL: waiting claims, timers, stopping."""

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.messages import new_id
from tests.integration.task_worker.replicas import Ask, Replicas
from tests.waiting import eventually_async

REPLICAS = 2
# Somewhat more than is promised on an idle machine: CI shares its cores.
AT_ONCE = 0.5


@pytest.fixture(scope="module")
def running(module_database_url: str, amqp_url: str) -> Iterator[Replicas]:
    replicas = Replicas(amqp_url, module_database_url)
    replicas.sql("insert into sessions (id) values ('s1')")
    try:
        for _ in range(REPLICAS):
            replicas.start()
        replicas.run(lambda ask: ask("register_agent", name="codex", type="t"))
        yield replicas
        for process in replicas.processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(20) for process in replicas.processes] == [0] * len(replicas.processes)
    finally:
        for process in replicas.processes:
            process.kill()
            process.wait()


@pytest.fixture
def replicas(running: Replicas) -> Replicas:
    running.sql("truncate tasks, task_dependencies cascade")
    return running


def delegated(**data: Any) -> dict[str, Any]:
    return {"session_id": "s1", "agent_name": "codex", "task_type": "t", **data}


def claiming(**data: Any) -> dict[str, Any]:
    return {"agent_name": "codex", "worker_id": "w1", **data}


async def parked(ask: Ask, count: int, **data: Any) -> list[asyncio.Task[dict[str, Any]]]:
    """Claims that wait by now: a claim that doesn't wait, sent after them, has been answered by each replica."""
    waiting = [asyncio.ensure_future(ask("claim_task", **claiming(wait_s=20, **data))) for _ in range(count)]
    for _ in range(4):
        await asyncio.gather(*(ask("claim_task", **claiming(agent_name="researcher")) for _ in range(8)))
    return waiting


def test_it_hands_out_tasks_and_takes_lapsed_ones_back_by_itself(replicas):
    async def talk(ask: Ask) -> tuple[Any, Any]:
        await ask("delegate_task", **delegated())
        (claimed,) = (await ask("claim_task", **claiming()))["tasks"]
        replicas.sql("update tasks set lease_expires = now() - interval '1 second'")

        async def requeued() -> dict[str, Any] | None:
            task: dict[str, Any] = (await ask("get_task", task_id=claimed["task_id"]))["task"]
            return task if task["status"] == "pending" else None

        return claimed, await eventually_async(requeued, 30)

    claimed, task = replicas.run(talk)
    assert (claimed["status"], claimed["attempt"]) == ("claimed", 1)
    assert (task["attempt"], task["claimed_by"]) == (1, None)


def test_a_waiting_claim_gets_a_task_as_soon_as_there_is_one_at_whichever_replica_it_waits(replicas):
    async def talk(ask: Ask) -> list[float]:
        took = []
        for _ in range(8):
            (waiting,) = await parked(ask, 1)
            began = time.monotonic()
            await ask("delegate_task", **delegated())
            assert len((await waiting)["tasks"]) == 1
            took.append(time.monotonic() - began)
        return sorted(took)

    took = replicas.run(talk)
    assert took[len(took) // 2] < AT_ONCE, took


def test_each_of_many_waiting_claims_gets_one_task(replicas):
    async def talk(ask: Ask) -> list[str]:
        waiting = await parked(ask, 30)
        await asyncio.gather(*(ask("delegate_task", **delegated()) for _ in range(30)))
        return [task["task_id"] for each in await asyncio.gather(*waiting) for task in each["tasks"]]

    assert len(set(replicas.run(talk))) == 30


def test_a_waiting_claim_is_woken_by_whatever_makes_a_task_claimable(replicas):
    async def talk(ask: Ask) -> list[float]:
        took = []
        first = (await ask("delegate_task", **delegated()))["task"]
        second = (await ask("delegate_task", **delegated(depends_on=[first["task_id"]])))["task"]
        (claimed,) = (await ask("claim_task", **claiming()))["tasks"]
        (waiting,) = await parked(ask, 1)
        began = time.monotonic()
        await ask("complete_task", task_id=claimed["task_id"], lease_token=claimed["lease_token"])
        assert (await waiting)["tasks"][0]["task_id"] == second["task_id"]
        took.append(time.monotonic() - began)

        (waiting,) = await parked(ask, 1)
        moment = datetime.now(UTC) + timedelta(seconds=0.5)
        third = (await ask("delegate_task", **delegated(run_at=moment.isoformat())))["task"]
        assert (await waiting)["tasks"][0]["task_id"] == third["task_id"]
        took.append((datetime.now(UTC) - moment).total_seconds())

        await ask("cancel_task", task_id=third["task_id"])
        await ask("cancel_task", task_id=second["task_id"])
        fourth = (await ask("delegate_task", **delegated(max_attempts=1)))["task"]
        (claimed,) = (await ask("claim_task", **claiming()))["tasks"]
        report = {"task_id": claimed["task_id"], "lease_token": claimed["lease_token"]}
        await ask("fail_task", **report, error_message="x")
        (waiting,) = await parked(ask, 1)
        began = time.monotonic()
        await ask("retry_task", task_id=fourth["task_id"])
        assert (await waiting)["tasks"][0]["task_id"] == fourth["task_id"]
        took.append(time.monotonic() - began)
        return took

    assert max(replicas.run(talk)) < AT_ONCE


def test_room_under_an_agents_limit_wakes_a_claim(replicas):
    async def talk(ask: Ask) -> None:
        await ask("register_agent", name="narrow", type="t", max_concurrent=1)
        for _ in range(2):
            await ask("delegate_task", **delegated(agent_name="narrow"))
        (held,) = (await ask("claim_task", **claiming(agent_name="narrow", count=5)))["tasks"]
        (waiting,) = await parked(ask, 1, agent_name="narrow")
        await ask("complete_task", task_id=held["task_id"], lease_token=held["lease_token"])
        assert len((await waiting)["tasks"]) == 1

    replicas.run(talk)


def test_a_claim_that_waits_in_vain_is_answered_at_its_end_and_once(replicas):
    async def talk(ask: Ask) -> tuple[float, list[Any]]:
        message_id = new_id()
        began = time.monotonic()
        empty = await ask("claim_task", **claiming(wait_s=0.5), message_id=message_id)
        took = time.monotonic() - began
        await ask("delegate_task", **delegated())
        return took, [empty, await ask("claim_task", **claiming(wait_s=0.5), message_id=message_id)]

    took, answers = replicas.run(talk)
    assert answers == [{"tasks": []}, {"tasks": []}]
    assert 0.5 <= took < 0.5 + AT_ONCE


def test_copies_of_a_claim_whose_sender_asked_again_keep_no_task_from_others(replicas):
    async def talk(ask: Ask) -> None:
        message_id = new_id()
        copies = [
            asyncio.ensure_future(ask("claim_task", **claiming(wait_s=20), message_id=message_id)) for _ in range(3)
        ]
        (other,) = await parked(ask, 1)
        tasks = [(await ask("delegate_task", **delegated()))["task"]["task_id"] for _ in range(2)]
        async with asyncio.timeout(2):
            done, _ = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            given = [*(await other)["tasks"], *done.pop().result()["tasks"]]
        assert {task["task_id"] for task in given} == set(tasks)
        for each in copies:
            each.cancel()

    replicas.run(talk)


def test_waiting_claims_hold_up_nobody_and_are_answered_when_their_worker_stops(replicas):
    """More of them than a worker takes from the broker at once."""

    async def talk(ask: Ask) -> list[Any]:
        waiting = await parked(ask, 1_000)
        began = time.monotonic()
        await ask("delegate_task", **delegated(agent_name="researcher"))
        assert time.monotonic() - began < 5
        stopped, *_ = replicas.processes
        stopped.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(stopped.wait, 20) == 0
        replicas.processes.remove(stopped)
        (other,) = replicas.processes
        other.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(other.wait, 20) == 0
        replicas.processes.clear()
        return await asyncio.gather(*waiting)

    assert replicas.run(talk) == [{"tasks": []}] * 1_000
