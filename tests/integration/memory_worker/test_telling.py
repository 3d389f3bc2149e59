"""Rapid updates of one key are told of together, and nothing of it is lost."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import jsonpatch
import pytest

from services.memory_worker.store import memories, tellings
from shared.messages import decode_command, encode_command, new_id
from tests.integration.handling import events_of, result_of

LONG = {"text": "long enough for a patch to be smaller than the whole", "steps": ["one", "two"]}


def note(content: Any, key: str = "k", session: str = "s1") -> dict[str, Any]:
    return {"session_id": session, "type": "fact", "key": key, "content": content}


def tell(worker: Any) -> Any:
    (outcome,) = worker.run(worker.commit(worker.command("tell_memory_updates", {}, sender="system")))
    return outcome


@pytest.fixture(autouse=True)
def _hours_for_half_seconds(monkeypatch):
    """So that a slow machine doesn't let the time pass."""
    for module in (memories, tellings):
        monkeypatch.setattr(module, "TOLD_APART", timedelta(hours=1))


def let_pass(worker: Any, seconds: float = 3700) -> None:
    """As if so much time had gone by."""
    worker.sql(
        "update memories set updated = updated - make_interval(secs => :s),"
        " told_at = told_at - make_interval(secs => :s)",
        s=seconds,
    )


def update(worker: Any, content: Any, **more: Any) -> list[dict[str, Any]]:
    (outcome,) = worker.run(worker.write(note(content, **more)))
    return events_of(outcome)


def test_a_first_version_is_told_at_once_without_a_delta(worker):
    (event,) = update(worker, 1)
    assert (event["count"], event["delta"], event["delta_omitted"]) == (1, None, "first")


def test_an_update_after_a_while_is_told_at_once_with_what_changed(worker):
    update(worker, LONG)
    let_pass(worker)
    changed = {**LONG, "steps": ["one", "three"]}
    (event,) = update(worker, changed)
    assert event["count"] == 1
    assert event["delta"] == [{"op": "replace", "path": "/steps/1", "value": "three"}]
    assert event["delta_omitted"] is None
    assert jsonpatch.apply_patch(LONG, event["delta"]) == changed == event["exchange"]["content"]


def test_rapid_updates_become_one_event_with_the_last_version_and_their_count(worker):
    update(worker, LONG)
    for n in range(4):
        assert update(worker, {**LONG, "n": n}) == []
    assert result_of(tell(worker)) == {"told": 0}
    let_pass(worker)
    outcome = tell(worker)
    (event,) = events_of(outcome)
    assert result_of(outcome) == {"told": 1}
    assert (event["count"], event["exchange"]["version"]) == (4, 5)
    assert event["delta"] == [{"op": "add", "path": "/n", "value": 3}]
    assert event["session_seq"] == 2
    assert event["exchange"] == worker.ask("retrieve_memory", session_id="s1", key="k")["memory"]
    assert result_of(tell(worker)) == {"told": 0}


def test_the_delta_leads_from_what_was_told_last_not_from_the_version_before(worker):
    update(worker, LONG)
    update(worker, {**LONG, "passing": True})
    update(worker, {**LONG, "steps": []})
    let_pass(worker)
    (event,) = events_of(tell(worker))
    assert jsonpatch.apply_patch(LONG, event["delta"]) == event["exchange"]["content"] == {**LONG, "steps": []}


def test_the_time_runs_from_the_last_telling(worker):
    update(worker, 1)
    update(worker, 2)
    let_pass(worker)
    tell(worker)
    assert update(worker, 3) == []


def test_an_update_that_comes_when_the_time_is_over_tells_of_those_before_it(worker):
    update(worker, 1)
    update(worker, 2)
    update(worker, 3)
    let_pass(worker)
    (event,) = update(worker, 4)
    assert (event["count"], event["exchange"]["version"]) == (3, 4)
    assert result_of(tell(worker)) == {"told": 0}


def test_a_late_event_is_stamped_as_that_of_the_last_command_it_stands_for(worker):
    update(worker, 1)
    message_id = new_id()
    body = encode_command(
        "store_memory", note(2), message_id=message_id, sender_agent_id="grace", priority="high", hops=3,
        trust="untrusted",
    )  # fmt: skip
    worker.run(worker.commit(decode_command(body, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")))
    let_pass(worker)
    (event,) = events_of(tell(worker))
    stamps = ("sender_agent_id", "correlation_id", "priority", "hops", "trust", "traceparent")
    assert [event[name] for name in stamps] == [
        "grace", message_id, "high", 3, "untrusted", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]  # fmt: skip


def test_other_keys_and_sessions_are_told_of_on_their_own(worker):
    for key, session in (("a", "s1"), ("b", "s1"), ("a", "s2")):
        update(worker, 1, key=key, session=session)
        update(worker, 2, key=key, session=session)
    let_pass(worker)
    events = events_of(tell(worker))
    assert sorted((event["session_id"], event["exchange"]["key"]) for event in events) == [
        ("s1", "a"),
        ("s1", "b"),
        ("s2", "a"),
    ]
    assert sorted((event["session_id"], event["session_seq"]) for event in events) == [("s1", 3), ("s1", 4), ("s2", 2)]


def test_what_is_forgotten_is_not_told_of(worker):
    update(worker, "one")
    update(worker, "secret")
    command = worker.command("forget_memory", {"session_id": "s1", "key": "k"})
    worker.run(worker.commit(command))
    let_pass(worker)
    assert result_of(tell(worker)) == {"told": 0}


def test_large_updates_are_told_a_few_at_a_time(worker, monkeypatch):
    monkeypatch.setattr(tellings, "_TELL", tellings._TELL.replace(str(tellings.TOLD_BYTES), "1500"))
    for key in "abc":
        update(worker, 1, key=key)
        update(worker, key * 900, key=key)
    let_pass(worker)
    assert [result_of(tell(worker))["told"] for _ in range(3)] == [2, 1, 0]


def test_sessions_that_somebody_writes_to_are_told_of_later(worker):
    update(worker, 1)
    update(worker, 2)
    let_pass(worker)

    async def while_locked() -> Any:
        async with worker.database.transaction() as tx:
            await tx.exec_driver_sql("select 1 from sessions where id = 's1' for update")
            (outcome,) = await worker.commit(worker.command("tell_memory_updates", {}))
        return outcome

    assert result_of(worker.run(while_locked())) == {"told": 0}
    assert result_of(tell(worker)) == {"told": 1}


def test_tellers_at_once_tell_each_update_once(worker):
    for n in range(20):
        update(worker, 1, key=f"k{n}")
        update(worker, 2, key=f"k{n}")
    let_pass(worker)

    async def race() -> list[Any]:
        commands = [worker.command("tell_memory_updates", {}) for _ in range(4)]
        return await asyncio.gather(*(worker.commit(command) for command in commands))

    told = [event["exchange"]["key"] for (outcome,) in worker.run(race()) for event in events_of(outcome)]
    told += [event["exchange"]["key"] for event in events_of(tell(worker))]
    assert sorted(told) == sorted(f"k{n}" for n in range(20))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("one text", "another text", "not_smaller"),
        ({"a": 1}, {"b": [1, 2, 3]}, "not_smaller"),
        ("x" * 40_000, "y", "too_large"),
        ({"a": "x" * 90}, {"a": "x" * 90, "b": 2**70}, "inexact"),
    ],
)
def test_a_delta_that_would_be_no_help_is_left_out_with_the_reason(worker, before, after, reason):
    worker.run(worker.write(json.dumps(note(before))))
    let_pass(worker)
    (outcome,) = worker.run(worker.write(json.dumps(note(after))))
    (event,) = events_of(outcome)
    assert (event["delta"], event["delta_omitted"]) == (None, reason)
