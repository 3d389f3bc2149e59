"""A waiting claim is acknowledged before it is handled: what a killed worker leaves of it, the others tell."""

import asyncio
from collections.abc import Iterator

import orjson
import pytest

from shared.bus.tail import StreamEvent, Tail
from shared.messages import new_id
from tests.faults.crashing import MARK
from tests.integration.task_worker.replicas import Ask, Replicas
from tests.waiting import eventually_async


@pytest.fixture
def replicas(database_url: str, fresh_amqp_url: str) -> Iterator[Replicas]:
    """None runs yet."""
    made = Replicas(fresh_amqp_url, database_url)
    made.sql("insert into sessions (id) values ('s1')")
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def told(events: list[StreamEvent], kind: str) -> list[str]:
    return [event.message_id for event in events if orjson.loads(event.body)["type"] == kind]


def test_the_event_of_a_woken_claim_is_told_once_though_its_worker_died_before_publishing_it(replicas):
    claim_id = new_id()

    async def talk(ask: Ask) -> None:
        claim = {"agent_name": "codex", "worker_id": MARK, "wait_s": 20, "message_id": claim_id}
        asked = [asyncio.ensure_future(ask("claim_task", **claim))]
        replicas.start("tests.faults.crashing", "task_worker", "after_commit")
        # This one is answered once the other is parked.
        await ask("claim_task", agent_name="researcher", worker_id="w1")
        asked.append(asyncio.ensure_future(ask("delegate_task", session_id="s1", agent_name="codex", task_type="t")))
        assert await asyncio.to_thread(replicas.processes[0].wait, 20) == -9
        assert replicas.sql("select message_id from unconfirmed_messages") == [(claim_id,)]
        ((kept,),) = replicas.sql(
            f"select events::json -> 0 ->> 2 from handled_messages where message_id = '{claim_id}'"
        )

        events: list[StreamEvent] = []
        tail = Tail(replicas.amqp_url, name="tests", on_events=events.extend, start="first")
        asked.append(asyncio.ensure_future(tail.run()))
        # The time that leaves it to others has passed; and a row whose record is gone is no more than cleared away.
        replicas.sql("insert into unconfirmed_messages values ('gone')")
        replicas.sql("update unconfirmed_messages set at = now() - interval '11 s'")
        for _ in range(2):
            replicas.start()

        async def none_left() -> bool:
            return replicas.sql("select * from unconfirmed_messages") == []

        await eventually_async(none_left, 30)
        assert replicas.sql(f"select events from handled_messages where message_id = '{claim_id}'") == [(None,)]
        # What is told after it has come: nothing of it is still on its way.
        await ask("claim_task", agent_name="codex", worker_id="w1")
        await ask("register_agent", name="last", type="t")

        async def last_is_told() -> bool:
            return told(events, "agent_registered") != []

        await eventually_async(last_is_told, 20)
        assert told(events, "task_claimed") == [kept]
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    replicas.run(talk)
    assert replicas.sql("select status, attempt from tasks") == [("claimed", 1)]


def test_a_woken_claim_leaves_nothing_behind(replicas):
    async def talk(ask: Ask) -> None:
        replicas.start()
        waiting = asyncio.ensure_future(ask("claim_task", agent_name="codex", worker_id="w1", wait_s=20))
        await ask("claim_task", agent_name="researcher", worker_id="w1")
        await ask("delegate_task", session_id="s1", agent_name="codex", task_type="t")
        assert len((await waiting)["tasks"]) == 1

        async def nothing_is_kept() -> bool:
            rows = (
                "select 1 from unconfirmed_messages union all select 1 from handled_messages where events is not null"
            )
            return replicas.sql(rows) == []

        # Long before others would look for it.
        await eventually_async(nothing_is_kept, 5)

    replicas.run(talk)
