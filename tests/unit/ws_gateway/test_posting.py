"""What is told to the workers by the way: batches, retries, bounds; and the audit and the alerts that go so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.ws_gateway import posting as module
from services.ws_gateway.door.access import Identity
from services.ws_gateway.door.alerts import Alerts
from services.ws_gateway.door.audit import Audit
from services.ws_gateway.posting import Posting
from shared.auth import Caller
from shared.errors import Rejected, Unavailable, Unconfirmed
from shared.messages import Event
from shared.messages.live import RecordGatewayActs
from tests.unit.ws_gateway.house import SECRET, House, token
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio

ANA = Identity("ana", "agent", "active", 9e9, caller=Caller("ci", frozenset({"read"})))


class Bus:
    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.batches: list[tuple[str, list[Any]]] = []
        self.tries: list[str] = []

    async def send(self, items: Sequence[Any], message_id: str) -> None:
        self.tries.append(message_id)
        if self.fault:
            raise self.fault
        self.batches.append((message_id, list(items)))

    async def command(self, name: str, data: dict[str, Any], message_id: str) -> None:
        assert name == "record_gateway_acts"
        await self.send(data["acts"], message_id)

    async def publish(self, event: Event) -> None:
        await self.send([event], event.message_id)

    @property
    def items(self) -> list[Any]:
        return [item for _, batch in self.batches for item in batch]


@asynccontextmanager
async def running(posting: Posting) -> AsyncIterator[None]:
    task = asyncio.ensure_future(posting.run())
    try:
        yield
    finally:
        task.cancel()


async def until(condition: Any) -> None:
    async def holds() -> bool:
        return bool(condition())

    await eventually_async(holds, 5)


async def test_items_go_in_order_in_batches_and_the_last_after_a_while() -> None:
    bus = Bus()
    posting = Posting("things", bus.send, at_most=3, wait_s=0.05, room=100)
    async with running(posting):
        for number in range(8):
            posting.add(number)
        await until(lambda: len(bus.items) == 8)
    assert [batch for _, batch in bus.batches] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert len({message_id for message_id, _ in bus.batches}) == 3


@pytest.mark.parametrize("fault", [Unavailable("away"), Unconfirmed("perhaps"), TimeoutError()], ids=repr)
async def test_a_batch_is_tried_again_under_the_same_id(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    bus = Bus()
    bus.fault = fault
    posting = Posting("things", bus.send, at_most=2, wait_s=0, room=100)
    async with running(posting):
        for number in range(3):
            posting.add(number)
        await until(lambda: len(bus.tries) >= 3)
        bus.fault = None
        await until(lambda: len(bus.items) == 3)
    assert bus.items == [0, 1, 2]
    assert set(bus.tries[:-1]) == {bus.batches[0][0]}


async def test_of_too_many_the_oldest_go_and_are_counted() -> None:
    bus = Bus()
    posting = Posting("things", bus.send, at_most=10, wait_s=0, room=10)
    for number in range(25):
        posting.add(number)
    assert (len(posting), posting.dropped) == (10, 15)
    await posting.finish(1)
    assert bus.items == list(range(15, 25))


async def test_what_can_never_be_sent_does_not_stand_in_the_way() -> None:
    bus = Bus()
    bus.fault = Rejected("invalid", "no such thing")
    posting = Posting("things", bus.send, at_most=10, wait_s=0, room=10)
    posting.add("bad")
    assert await posting._post()
    bus.fault = None
    posting.add("good")
    await posting.finish(1)
    assert bus.items == ["good"]


async def test_a_stop_sends_what_waits_but_not_for_ever() -> None:
    bus = Bus()
    posting = Posting("things", bus.send, at_most=10, wait_s=60, room=10)
    async with running(posting):
        posting.add("first")
        await asyncio.sleep(0)
        await posting.finish(1)
    assert bus.items == ["first"]
    bus.fault = Unavailable("away")
    posting.add("second")
    await posting.finish(0.05)
    assert posting.waiting == ["second"]


async def test_a_storm_of_subscriptions_is_noted_once_and_the_acts_are_what_the_worker_takes() -> None:
    bus = Bus()
    audit = Audit(bus.command)
    audit.note("connect", ANA, "c1")
    for _ in range(1000):
        audit.note("subscribe", ANA, "c1")
        audit.note("subscribe", ANA, "c2")
    audit.note("refuse", None, "1.2.3.4", "4401")
    audit.note("shutdown", None, "g1", "x" * 1000)
    await audit.posting.finish(1)
    ((message_id, acts),) = bus.batches
    assert message_id
    kept = RecordGatewayActs.model_validate({"acts": acts}).acts
    assert [(act.act, act.key, act.agent_id, act.target) for act in kept] == [
        ("connect", "ci", "ana", "c1"),
        ("subscribe", "ci", "ana", "c1"),
        ("subscribe", "ci", "ana", "c2"),
        ("refuse", "-", "-", "1.2.3.4"),
        ("shutdown", "-", "-", "g1"),
    ]
    assert [act.outcome for act in kept][:4] == ["ok", "ok", "ok", "4401"]


async def test_what_happens_at_the_door_is_noted_without_a_token_or_a_text() -> None:
    house = House()
    visitor = house.come("ana", issued_to="ci")
    visitor.say("subscribe", topics=["session.secret-plan.#"])
    house.enter("bad token")
    house.enter(token("ana"))
    acts = house.gateway.audit.posting.waiting
    assert [(act["act"], act["agent_id"], act["outcome"]) for act in acts] == [
        ("connect", "ana", "ok"), ("subscribe", "ana", "ok"), ("refuse", "-", "4401"), ("refuse", "ana", "4409"),
    ]  # fmt: skip
    assert [act["target"] for act in acts] == [visitor.client.id, visitor.client.id, "1.2.3.4", "1.2.3.4"]
    assert SECRET not in str(acts)
    assert "plan" not in str(acts)


async def test_alerts_reach_the_bus_and_one_address_can_not_drown_the_others() -> None:
    bus = Bus()
    alerts = Alerts(bus.publish, sender="gateway")
    for _ in range(1000):
        alerts.tell("resume_token_altered", "6.6.6.6", "it was altered", agent_id="eve")
    alerts.tell("flooding", "7.7.7.7", "too many")
    async with running(alerts.posting):
        await until(lambda: bus.items and bus.items[-1].address == "7.7.7.7")
    assert len(bus.items) == 11
    assert {(event.routing_key(), event.sender_agent_id) for event in bus.items} == {
        ("system.security_alert", "gateway")
    }
