"""Follow-ups on a real bus: sent with the events of their command, whatever happens in between."""

from typing import Any

import pytest
from sqlalchemy import text

from shared.bus.commit import GroupCommit
from shared.bus.follow_ups import FollowUp, follow_up_id
from shared.bus.handled import take_unconfirmed
from shared.bus.publications import publications
from shared.bus.replies import Reply
from shared.bus.topology import COMMANDS, EVENTS
from shared.database import Transaction
from shared.messages import Command, JsonText, decode_command
from shared.messages.session import LlmConversationInsight
from tests.integration.bus.clients import until
from tests.integration.bus.workshop import Workshop

pytestmark = pytest.mark.anyio


async def complete(tx: Transaction, command: Command) -> Reply:
    """Stands for a command that something else follows from: two insights, one of them in bob's name."""
    await tx.execute(text("insert into effects (message_id) values (:m)"), {"m": command.message_id})
    return Reply(
        {"told": True},
        [LlmConversationInsight(session_id=None, insight=JsonText(b'"completed"'))],
        commands=[
            FollowUp("record_insight", {"insight": "first"}),
            FollowUp("record_insight", {"insight": "second"}, "bob"),
        ],
    )


COMPLETE = {"complete_session": complete}


def completion(workshop: Workshop, message_id: str = "m1") -> tuple[str, bytes, str]:
    return workshop.command("complete_session", {"session_id": "s1"}, message_id=message_id)


FOLLOW_UPS = [follow_up_id("m1", 0), follow_up_id("m1", 1)]


def said(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(
        (event["insight"], event["correlation_id"], event["sender_agent_id"], event["hops"]) for event in events
    )


async def test_follow_ups_happen_once_after_their_command(workshop: Workshop) -> None:
    await workshop.worker(more=COMPLETE)
    for _ in range(2):
        assert (await workshop.ask(completion(workshop)))["ok"]
    events = await workshop.all_told(["m1", *FOLLOW_UPS])
    assert said(events) == [
        ("completed", "m1", "ada", 0),
        ("first", FOLLOW_UPS[0], "system", 1),
        ("second", FOLLOW_UPS[1], "bob", 1),
    ]
    assert await workshop.effects() == dict.fromkeys(["m1", *FOLLOW_UPS], 1)


@pytest.mark.parametrize("published", [False, True], ids=["unpublished", "published"])
async def test_follow_ups_that_a_crash_left_behind_happen_once(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """Before anything was published, or before that was noted; killed for good it is in test_collisions.py."""

    async def fail(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("after the commit")

    worker = await workshop.worker(more=COMPLETE)
    if not published:
        monkeypatch.setattr(worker._outbox, "send", lambda outcomes: None)
    monkeypatch.setattr(worker._outbox, "deliver", fail)
    await workshop.send(completion(workshop))
    await until(lambda: not worker.connected)
    await until(lambda: worker.connected)
    await workshop.all_told(["m1", *FOLLOW_UPS])
    await workshop.stop(worker)
    assert await workshop.effects() == dict.fromkeys(["m1", *FOLLOW_UPS], 1)
    assert await workshop.queued() == 0


async def test_follow_ups_of_a_command_that_had_waited_are_left_for_others_to_find(workshop: Workshop) -> None:
    """It is acknowledged already, so nobody would deliver it again."""
    command = decode_command(completion(workshop)[1])
    async with workshop.database.transaction() as tx:
        (outcome,) = await GroupCommit(COMPLETE, {}).run(tx, [command], patient=set(), parked={"m1"})
    async with workshop.database.transaction() as tx:
        left = await take_unconfirmed(tx, 10, -1)
    assert [(each.exchange, each.message_id) for each in publications(left["m1"])[1:]] == [
        (COMMANDS, each) for each in FOLLOW_UPS
    ]
    assert publications(left["m1"])[0].exchange == EVENTS
    assert publications(left["m1"]) == outcome.publications  # type: ignore[union-attr]
