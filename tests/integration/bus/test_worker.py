"""The worker runtime: one effect, one reply and one set of events for each command, whatever comes between."""

import asyncio
import gzip
from itertools import pairwise
from typing import Any

import orjson
import pytest

from shared.bus.topology import COMMANDS
from shared.messages import new_id
from tests.integration.bus.clients import until
from tests.integration.bus.workshop import Workshop
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio

POISON: dict[str, tuple[bytes, str, str]] = {
    "bad UTF-8": (b'{"a": "\xff"}', "invalid", "not JSON"),
    "NUL": (rb'{"a": "\u0000"}', "invalid", "NUL"),
    "NaN": (b'{"a": NaN}', "invalid", "not JSON"),
    "a lone surrogate": (rb'{"a": "\ud800"}', "invalid", "not JSON"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "invalid", "nested deeper"),
    "nothing": (b"", "invalid", "not JSON"),
    "no object": (b"[]", "invalid", "JSON object"),
    "wrong types": (b'{"type":"command","message_id":7,"command":"record_insight","data":{}}', "invalid", "message_id"),
    "an unknown command": (
        b'{"type":"command","message_id":"m","command":"drop_tables","data":{}}', "invalid", "drop_tables",
    ),
    "an unknown field": (
        b'{"type":"command","message_id":"m","command":"record_insight","data":{"insight":1,"colour":2}}',
        "invalid", "colour",
    ),
    "2**70 hops": (
        b'{"type":"command","message_id":"m","command":"record_insight","hops":%d,"data":{"insight":1}}' % 2**70,
        "invalid", "hops",
    ),
    "a loop": (
        b'{"type":"command","message_id":"m","command":"record_insight","hops":16,"data":{"insight":1}}',
        "loop", "16 hops",
    ),
    "a command of another worker": (
        b'{"type":"command","message_id":"m","command":"claim_task","data":{"agent_name":"a","worker_id":"w"}}',
        "invalid", "claim_task",
    ),
    "a reading command": (
        b'{"type":"command","message_id":"m","command":"get_session","data":{"session_id":"s"}}',
        "invalid", "get_session",
    ),
}  # fmt: skip


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
    await nothing_queued(workshop)
    assert await workshop.effects() == dict.fromkeys(ids, 1)
    assert len(events) == 250
    assert not await workshop.clients.letters(workshop.url)


async def nothing_queued(workshop: Workshop) -> None:
    async def is_empty() -> bool:
        return not await workshop.queued("memory.commands") and not await workshop.queued("session.commands")

    await eventually_async(is_empty, 20)


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


@pytest.mark.parametrize("name", POISON)
async def test_poison_is_a_dead_letter_and_an_answer_and_its_neighbours_are_unaffected(
    workshop: Workshop, name: str
) -> None:
    body, code, said = POISON[name]
    letters = await workshop.clients.letters(workshop.url)
    before = await workshop.send(*(workshop.insight(n) for n in range(3)))
    asked = asyncio.ensure_future(workshop.ask_raw("session.record_insight", body))
    await asyncio.wait([asked], timeout=0.1)
    after = await workshop.send(*(workshop.insight(n) for n in range(3)))
    await workshop.worker()

    error = (await asked)["error"]
    assert (error["code"], said in error["message"]) == (code, True)
    (letter,) = await until(lambda: letters)
    assert letter.body == body
    assert letter.headers["x-reason"] == error["message"][:1000]
    await workshop.all_told(before + after)
    await nothing_queued(workshop)
    assert len(letters) == 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"no gzip"),
        ("br", b"{}"),
        ("gzip", gzip.compress(b"\0" * 30_000_000)),
        ("gzip", gzip.compress(b"{}")[:-5]),
    ],
    ids=["damaged", "unknown", "a bomb", "cut short"],
)
async def test_a_body_that_can_not_be_unpacked_is_a_dead_letter(workshop: Workshop, encoding: str, body: bytes) -> None:
    await workshop.worker()
    letters = await workshop.clients.letters(workshop.url)
    reply = await workshop.ask_raw("session.record_insight", body, content_encoding=encoding)
    assert reply["error"]["code"] in ("invalid", "too_large")
    (letter,) = await until(lambda: letters)
    assert (letter.body, letter.content_encoding) == (body, encoding)


STRANGE: dict[str, dict[str, Any]] = {
    "a reply address that is no UTF-8": {"reply_to": b"\xff" * 255},
    "an id that is no UTF-8": {"message_id": b"\xff\xfe" * 100},
    "an id with a NUL": {"message_id": b"a\x00b"},
    "a header that is no UTF-8": {"headers": b"\x02\xff\xfeS\x00\x00\x00\x01\xff"},
    "a moment after the year 9999": {"headers": b"\x04whenT" + (2**62).to_bytes(8, "big")},
    "headers that leave no room for a reason": {"headers": b"\x01aS" + (130_900).to_bytes(4, "big") + b"x" * 130_900},
    "a number that can't be sent on": {"headers": b"\x01aD\xff\xff\xff\xff\xff"},
    "an attempt that is no number": {"headers": b"\x09x-attemptS\x00\x00\x00\x01x"},
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("body", [b"poison", b"a bug", b"fine"])
async def test_properties_nobody_can_read_stop_nobody(workshop: Workshop, name: str, body: bytes) -> None:
    """Sent as bytes, since no AMQP library would; RabbitMQ itself looks at none of it."""
    message_id = new_id()
    whole = {
        b"poison": b"poison",
        b"a bug": workshop.insight({"bug": "oops"}, message_id=message_id)[1],
        b"fine": workshop.insight(message_id=message_id)[1],
    }[body]
    connection = await workshop.clients.connection(workshop.url)
    connection._write(raw_publish(COMMANDS, "session.record_insight", whole, **STRANGE[name]))
    ids = await workshop.send(*(workshop.insight(n) for n in range(5)))
    letters = await workshop.clients.letters(workshop.url)
    retried = await workshop.clients.letters(workshop.url, "switchyard.retry.10s")
    worker = await workshop.worker()

    await workshop.all_told(ids)
    if body == b"poison":
        (letter,) = await until(lambda: letters)
        assert letter.body == b"poison"
        assert "not JSON" in letter.headers["x-reason"]
    elif body == b"a bug":
        (held,) = await until(lambda: retried)
        assert (held.body, held.headers["x-attempt"]) == (whole, 1)
    else:
        await workshop.all_told([message_id])
    await workshop.stop(worker)
    assert await workshop.queued("session.commands") == 0


def raw_publish(
    exchange: str,
    routing_key: str,
    body: bytes,
    *,
    headers: bytes = b"",
    message_id: bytes = b"",
    reply_to: bytes = b"",
) -> bytes:
    """A basic.publish whose properties are any bytes."""

    def short(raw: bytes) -> bytes:
        return bytes((len(raw),)) + raw

    flags, properties = 0, b""
    for bit, value in ((13, headers and len(headers).to_bytes(4, "big") + headers), (9, short(reply_to)), (7, short(message_id))):  # fmt: skip  # noqa: E501
        if len(value) > 1:
            flags |= 1 << bit
            properties += value
    method = b"\x00\x3c\x00\x28\x00\x00" + short(exchange.encode()) + short(routing_key.encode()) + b"\x00"
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + flags.to_bytes(2, "big") + properties
    return b"".join(
        bytes((kind,)) + b"\x00\x01" + len(payload).to_bytes(4, "big") + payload + b"\xce"
        for kind, payload in ((1, method), (2, header), (3, body))
    )


# Sessions


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
    await nothing_queued(workshop)
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


# Stopping


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
