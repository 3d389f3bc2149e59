"""The worker runtime and the sessions commands are about: waited for, closed, numbered, in order."""

import asyncio
from itertools import pairwise

import orjson
import pytest

from tests.integration.bus.workshop import Workshop
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


async def test_a_command_waits_for_the_session_it_is_about(workshop: Workshop) -> None:
    await workshop.worker()
    waiting = asyncio.ensure_future(workshop.ask(workshop.memory("s1")))
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()
    await workshop.open("s1")
    assert (await waiting)["ok"]


async def test_a_session_that_does_not_come_is_not_found(workshop: Workshop) -> None:
    await workshop.worker()
    reply = await workshop.ask(workshop.memory("no session", message_id="m1"))
    assert reply["error"] == {
        "code": "not_found", "message": "session 'no session' does not exist", "details": {"session_id": "no session"},
    }  # fmt: skip
    await workshop.open("no session")
    assert await workshop.ask(workshop.memory("no session", message_id="m1")) == reply


@pytest.mark.parametrize("status", ["completed", "failed", "archived"])
async def test_nothing_is_written_to_a_closed_session(workshop: Workshop, status: str) -> None:
    await workshop.worker()
    await workshop.open("s1")
    assert (await workshop.ask(workshop.memory("s1")))["ok"]
    await workshop.sql("update sessions set status = 'paused'")
    assert (await workshop.ask(workshop.memory("s1")))["ok"]
    await workshop.sql("update sessions set status = :status", status=status)
    error = (await workshop.ask(workshop.memory("s1")))["error"]
    assert (error["code"], error["details"]) == ("conflict", {"status": status})


async def test_commands_for_a_session_and_the_one_that_opens_it_may_come_in_one_batch(workshop: Workshop) -> None:
    create = ("c1", orjson.dumps({"type": "command", "message_id": "c1", "command": "create_session",
                                  "data": {"session_id": "s1"}}), "session.create_session")  # fmt: skip
    ids = await workshop.send(workshop.memory("s1"), create, workshop.memory("s1"))
    await workshop.worker()
    await workshop.all_told(ids)


async def test_commands_for_missing_sessions_hold_up_nobody_else(workshop: Workshop) -> None:
    """More of them than fit in a batch, ahead of everybody."""
    await workshop.open("s1")
    missing = await workshop.send(*(workshop.memory(f"missing {n}") for n in range(350)))
    ids = await workshop.send(*(workshop.memory("s1", n) for n in range(40)))
    await workshop.worker()
    await workshop.nothing_queued()
    await workshop.all_told(ids)

    async def all_handled() -> bool:
        return len(await workshop.sql("select from handled_messages")) == 390

    await eventually_async(all_handled)
    rows = await workshop.sql("select message_id from handled_messages order by handled_at")
    assert {row.message_id for row in rows[:40]} == set(ids)
    assert {row.message_id for row in rows[40:]} == set(missing)


async def test_the_order_of_a_session_holds_while_its_first_commands_wait_for_it(workshop: Workshop) -> None:
    await workshop.open("other")
    ids = await workshop.send(*(workshop.memory("s1" if n % 2 else "other", n) for n in range(100)))
    await workshop.worker()
    await workshop.all_told(ids[::2])
    late = await workshop.send(*(workshop.memory("s1", n) for n in range(100, 110)))
    await workshop.open("s1")
    await workshop.all_told(ids + late)
    rows = await workshop.sql("select message_id from effects where session_id = 's1' order by id")
    assert [row.message_id for row in rows] == ids[1::2] + late


async def test_a_session_s_events_are_numbered_without_a_gap_by_two_workers(workshop: Workshop) -> None:
    sessions = [f"s{n}" for n in range(4)]
    await workshop.open(*sessions)
    for _ in range(2):
        await workshop.worker()
    commands = [workshop.memory(sessions[n % 4], n, key="refused" if n % 10 == 3 else "k") for n in range(800)]
    commands += [workshop.insight(n, session_id=sessions[n % 4]) for n in range(80)]
    ids = await workshop.send(*commands)
    written = [each for n, each in enumerate(ids) if n >= 800 or n % 10 != 3]

    events = await workshop.all_told(written)
    for name in sessions:
        numbers = sorted(event["session_seq"] for event in events if event["session_id"] == name)
        assert numbers == list(range(1, len(numbers) + 1))
    rows = await workshop.sql("select id, seq, memory_count from sessions order by id")
    assert [row.seq for row in rows] == [220 - 20 * (name in ("s1", "s3")) * 2 for name in sessions]
    assert sum(row.memory_count for row in rows) == 720


async def test_one_worker_keeps_the_order_in_which_commands_came(workshop: Workshop) -> None:
    await workshop.open("s1", "s2")
    await workshop.worker()
    ids = []
    for start in range(0, 400, 40):
        ids += await workshop.send(
            *(workshop.memory("s1" if n % 2 else "s2", n) if n % 5 else workshop.insight(n, session_id="s1")
              for n in range(start, start + 40))
        )  # fmt: skip
    await workshop.all_told(ids)
    rows = await workshop.sql("select message_id from effects order by id")
    areas = {message: "insight" if n % 5 == 0 else "memory" for n, message in enumerate(ids)}
    for area in ("insight", "memory"):  # two queues, each in order
        done = [row.message_id for row in rows if areas[row.message_id] == area]
        assert done == [message for message in ids if areas[message] == area]
    for event, other in pairwise(e for e in workshop.told() if e.get("session_id") == "s1"):
        assert event["session_seq"] < other["session_seq"]
