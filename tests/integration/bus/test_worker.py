"""The worker runtime: one effect, one reply and one set of events for each command, whatever comes between."""

import asyncio

import orjson
import pytest

from shared.bus.topology import COMMANDS
from tests.integration.bus.clients import until
from tests.integration.bus.workshop import Workshop

pytestmark = pytest.mark.anyio


async def test_a_command_has_its_effect_its_reply_and_its_event(workshop: Workshop) -> None:
    await workshop.worker()
    command = workshop.insight({"a": 1e2}, message_id="m1", session_id=None, priority="high", hops=3, trust="untrusted")
    assert await workshop.ask(command) == {"ok": True, "result": {"handled": "m1"}}

    (event,) = await workshop.all_told(["m1"])
    stamped = {"sender_agent_id": "ada", "correlation_id": "m1", "priority": "high", "hops": 3, "trust": "untrusted"}
    assert {name: event[name] for name in stamped} == stamped
    assert workshop.events[0].message_id == event["message_id"]
    assert await workshop.effects() == {"m1": 1}


async def test_the_same_message_a_hundred_times_at_once_happens_once(workshop: Workshop) -> None:
    await workshop.open("s1")
    for _ in range(2):
        await workshop.worker()
    command = workshop.memory("s1", message_id="m1")
    replies = await asyncio.gather(*(workshop.ask(command) for _ in range(100)))

    assert {orjson.dumps(reply) for reply in replies} == {b'{"ok":true,"result":{"handled":"m1"}}'}
    assert await workshop.effects() == {"m1": 1}
    assert len(await workshop.all_told(["m1"])) == 1
    assert await workshop.ask(command) == replies[0]
    ((count, seq),) = await workshop.sql("select memory_count, seq from sessions")
    assert (count, seq) == (1, 1)


async def test_many_messages_a_few_times_each_by_two_workers_happen_once_each(workshop: Workshop) -> None:
    """Copies meet in one batch, in neighbouring batches and in two workers; the order differs each time."""
    sessions = [f"s{n}" for n in range(5)]
    await workshop.open(*sessions)
    commands = [workshop.memory(sessions[n % 5]) for n in range(200)] + [workshop.insight() for _ in range(50)]
    for step in (1, 7, 3, 249):
        await workshop.send(*(commands[n * step % 250] for n in range(250)))
    for _ in range(2):
        await workshop.worker()

    ids = [command[0] for command in commands]
    events = await workshop.all_told(ids)
    await workshop.nothing_queued()
    assert await workshop.effects() == dict.fromkeys(ids, 1)
    assert len(events) == 250
    assert not await workshop.clients.letters(workshop.url)


@pytest.mark.parametrize("together", [True, False], ids=["at once", "one after another"])
async def test_another_command_under_the_same_id_is_a_conflict(workshop: Workshop, together: bool) -> None:
    first, second = workshop.insight("one", message_id="m1"), workshop.insight("another", message_id="m1")
    if together:
        asked = [asyncio.ensure_future(workshop.ask(command)) for command in (first, second)]
        await asyncio.wait(asked, timeout=0.2)
        await workshop.worker()
        replies = [await each for each in asked]
    else:
        await workshop.worker()
        replies = [await workshop.ask(first), await workshop.ask(second)]

    assert replies[0]["ok"]
    assert replies[1]["error"]["code"] == "conflict"
    assert "m1" in replies[1]["error"]["message"]
    assert await workshop.effects() == {"m1": 1}
    # Also when the other is a command of another name.
    reply = await workshop.ask(workshop.memory("s1", message_id="m1"))
    assert reply["error"]["code"] == "conflict"


async def test_a_refusal_is_recorded_and_repeated(workshop: Workshop) -> None:
    await workshop.worker()
    command = workshop.insight({"reject": "not today"}, message_id="m1")
    replies = [await workshop.ask(command) for _ in range(2)]
    assert replies[0] == replies[1]
    assert replies[0]["error"] == {"code": "conflict", "message": "not today", "details": {}}
    assert not await workshop.effects()


async def test_a_bug_hurts_only_its_own_command(workshop: Workshop) -> None:
    await workshop.open("s1")
    commands = [workshop.memory("s1", n) for n in range(20)]
    commands += [workshop.insight({"bug": "oops"}, message_id="bad")]
    commands += [workshop.memory("s1", n) for n in range(20)]
    commands += [workshop.memory("s1", key="bug", message_id="bad batch")]
    commands += [workshop.insight(n) for n in range(20)]
    await workshop.send(*commands)
    await workshop.worker()

    good = [command[0] for command in commands if not command[0].startswith("bad")]
    await workshop.all_told(good)
    assert await workshop.effects() == dict.fromkeys(good, 1)
    assert [each for (each,) in await workshop.sql("select message_id from handled_messages where message_id like 'bad%'")] == []  # fmt: skip  # noqa: E501


async def test_a_refusal_within_a_batch_hurts_only_itself(workshop: Workshop) -> None:
    await workshop.open("s1")
    asked = [
        asyncio.ensure_future(workshop.ask(workshop.memory("s1", n, key="refused" if n == 5 else "k")))
        for n in range(10)
    ]
    await asyncio.wait(asked, timeout=0.2)
    await workshop.worker()
    replies = [await each for each in asked]
    assert [reply["ok"] for reply in replies] == [n != 5 for n in range(10)]
    assert len(await workshop.effects()) == 9


async def test_commands_that_wait_are_committed_together(workshop: Workshop) -> None:
    await workshop.open("s1")
    ids = await workshop.send(*(workshop.memory("s1", n) for n in range(300)))
    await workshop.worker()
    await workshop.all_told(ids)
    assert [each for batch in workshop.batches for each in batch] == ids
    assert len(workshop.batches) < 30
    assert max(map(len, workshop.batches)) <= 100


async def test_a_stumble_is_tried_again_after_its_tier_and_then_succeeds(workshop: Workshop) -> None:
    await workshop.worker()
    waiting = await workshop.clients.letters(workshop.url, "switchyard.retry.1s")
    (bad,) = await workshop.send(workshop.insight({"transient": 1}))
    (held,) = await until(lambda: waiting)
    assert (held.message_id, held.headers["x-attempt"]) == (bad, 1)
    assert held.routing_key == "session.record_insight"


async def test_what_waits_in_a_retry_tier_comes_back_by_itself(workshop: Workshop) -> None:
    """The tier of one second, twice: the message goes round with its count, and then among the dead letters."""
    await workshop.worker()
    letters = await workshop.clients.letters(workshop.url)
    await workshop.send(workshop.insight({"transient": 1}, message_id="m1"), headers={"x-attempt": 3, "mine": "kept"})
    (letter,) = await until(lambda: letters)
    assert (letter.headers["x-attempt"], letter.headers["mine"]) == (6, "kept")
    assert letter.headers["x-original-exchange"] == COMMANDS
    assert letter.headers["x-original-routing-key"] == "session.record_insight"
    assert "not yet" in letter.headers["x-reason"]
    assert orjson.loads(letter.body)["message_id"] == "m1"
    assert not await workshop.effects()


async def test_after_the_last_attempt_the_sender_is_told_and_the_letter_says_why(workshop: Workshop) -> None:
    await workshop.worker()
    letters = await workshop.clients.letters(workshop.url)
    _, body, key = workshop.insight({"bug": "a bug of ours"})
    reply = await workshop.ask_raw(key, body, headers={"x-attempt": 5})
    assert reply["error"]["code"] == "internal"
    (letter,) = await until(lambda: letters)
    assert "RuntimeError: a bug of ours" in letter.headers["x-reason"]


async def test_data_no_repetition_makes_storable_is_refused_at_once(workshop: Workshop) -> None:
    await workshop.worker()
    letters = await workshop.clients.letters(workshop.url)
    reply = await workshop.ask(workshop.insight({"sql": "select cast('x' || chr(1) as int)"}))
    assert reply["error"]["code"] == "invalid"
    (letter,) = await until(lambda: letters)
    assert letter.headers["x-attempt"] == 1


async def test_a_worker_that_is_told_to_stop_finishes_what_it_has_in_hand(workshop: Workshop) -> None:
    await workshop.open("s1")
    worker = await workshop.worker()
    workshop.go_on.clear()
    held = asyncio.ensure_future(workshop.ask(workshop.memory("s1", message_id="m1")))
    await until(lambda: workshop.batches)
    stopping = asyncio.ensure_future(workshop.stop(worker))
    await asyncio.wait([stopping], timeout=0.1)
    assert not stopping.done()
    workshop.go_on.set()
    await stopping
    assert (await held)["ok"]
    assert await workshop.queued() == 0
    assert len(workshop.told()) <= 1


async def test_what_a_stopped_worker_has_not_begun_is_done_by_the_next(workshop: Workshop) -> None:
    await workshop.open("s1")
    first = await workshop.worker()
    ids = await workshop.send(*(workshop.memory("s1", n) for n in range(1500)))
    await until(lambda: workshop.batches)
    await workshop.stop(first)
    await workshop.worker()
    await workshop.all_told(ids)
    assert await workshop.effects() == dict.fromkeys(ids, 1)
    assert not await workshop.clients.letters(workshop.url)


async def test_what_could_not_be_finished_is_given_back_and_done_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("a bug after the commit")

    worker = await workshop.worker()
    monkeypatch.setattr(worker._outbox, "deliver", fail)
    [first] = await workshop.send(workshop.insight())
    await until(lambda: not worker.connected)
    await until(lambda: worker.connected)
    assert (await workshop.ask(workshop.insight(message_id="m2")))["ok"]
    await workshop.stop(worker)
    assert await workshop.effects() == {first: 1, "m2": 1}
    assert await workshop.queued("session.commands") == 0
