"""Critical events that are not acknowledged: asked for twice, then told to the admins."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ws_gateway.delivery.curator import MAX_MISSING, STRIDE, Curator
from shared.bus.tail import StreamEvent
from shared.messages.live import UnacknowledgedUpdates
from tests.examples import examples
from tests.unit.ws_gateway.house import House, Visitor

pytestmark = pytest.mark.anyio

ACK_S = 30.0


class Timer:
    """A timer that goes off when the test's clock gets there."""

    def __init__(self, at: float, act: Callable[[], None]) -> None:
        self.at, self.act = at, act

    def cancel(self) -> None:
        self.at = float("inf")


class Office(House):
    """A house with a curator, and time that passes when told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers: list[Timer] = []
        self.told: list[UnacknowledgedUpdates] = []
        self.curator = Curator(
            self.gateway, self.told.append, sender="g1", ack_s=ACK_S,
            call_later=self._set_timer, clock=lambda: self.now,
        )  # fmt: skip

    def _set_timer(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append(Timer(self.now + seconds, act))
        return self.timers[-1]  # type: ignore[return-value]

    def wait(self, until: float) -> None:
        while True:
            self.timers = [timer for timer in self.timers if timer.at != float("inf")]
            assert len(self.timers) <= 1
            due = [timer for timer in self.timers if timer.at <= until]
            if not due:
                break
            self.timers.remove(due[0])
            self.now = max(self.now, due[0].at)
            due[0].act()
        self.now = until

    def alarm(self, count: int = 1) -> list[str]:
        """Critical events; returns their ids."""
        ids = []
        for _ in range(count):
            offset = len(self.stored)
            body = json.dumps({"type": "alarm", "message_id": f"m{offset}", "priority": "critical"}).encode()
            self.stored.append(StreamEvent(offset, "session.s1.alarm", body, f"m{offset}"))
            ids.append(f"m{offset}")
        self.intake.take(self.stored[-count:])
        return ids

    def listener(self, agent_id: str = "ana", **more: Any) -> Visitor:
        visitor = self.come(agent_id, **more)
        visitor.say("subscribe", topics=["session.#"])
        return visitor


def checkins(visitor: Visitor) -> list[tuple[int, list[str]]]:
    frames = [frame for frame in visitor.socket.read() if frame["type"] == "curator_checkin"]
    return [(frame["attempt"], [missing["message_id"] for missing in frame["missing_updates"]]) for frame in frames]


async def test_what_is_not_acknowledged_is_asked_for_twice_and_then_told_to_the_admins() -> None:
    office = Office()
    visitor = office.listener()
    office.alarm()
    office.wait(29)
    assert checkins(visitor) == []
    office.wait(30)
    assert checkins(visitor) == [(1, ["m0"])]
    office.wait(60)
    assert checkins(visitor) == [(2, ["m0"])]
    office.wait(89)
    assert office.told == []
    office.wait(90)
    (told,) = office.told
    assert (told.agent_id, told.connection_id, told.missing) == ("ana", visitor.client.id, ["m0"])
    assert (told.priority, told.waited_s, told.routing_key()) == ("high", 90, "system.unacknowledged")
    office.wait(1000)
    assert (checkins(visitor), len(office.told), office.timers) == ([], 1, [])


async def test_a_check_in_says_what_is_missing() -> None:
    office = Office()
    visitor = office.listener(kind="human", permission="observer")
    office.alarm(2)
    visitor.socket.read()
    office.wait(30)
    (frame,) = visitor.socket.read()
    first = frame["missing_updates"][0]
    assert first.pop("sent_at").endswith("Z")
    assert first == {"message_id": "m0", "cursor": 1, "type": "alarm"}
    assert "2 updates" in frame["message"]


async def test_an_acknowledgement_ends_it_and_a_second_one_changes_nothing() -> None:
    office = Office()
    visitor = office.listener()
    office.alarm(2)
    for _ in range(2):
        assert [frame["type"] for frame in visitor.say("ack", message_id="m0")] in ([], ["alarm", "alarm"])
    visitor.say("ack", message_id="unheard of")
    office.wait(30)
    assert checkins(visitor) == [(1, ["m1"])]
    visitor.say("ack", message_id="m1")
    office.wait(200)
    assert (checkins(visitor), office.told, office.curator.unacknowledged) == ([], [], 0)


async def test_acknowledgements_that_are_wanted_are_no_flood() -> None:
    office = Office()
    visitor = office.listener()
    for _ in range(20):
        for message_id in office.alarm(50):
            assert visitor.client.answers.counted()
            visitor.client.answers.said(json.dumps({"type": "ack", "message_id": message_id}).encode())
    assert visitor.socket.closed is None
    # Those that nobody waits for are.
    while visitor.client.answers.counted():
        visitor.client.answers.said(b'{"type":"ack","message_id":"m0"}')
    assert visitor.socket.closed is not None


async def test_events_that_are_not_critical_need_none() -> None:
    office = Office()
    visitor = office.listener()
    office.publish("session.s1.a")
    office.wait(100)
    assert (checkins(visitor), office.timers) == ([], [])


async def test_events_that_come_shortly_after_each_other_are_asked_for_together() -> None:
    office = Office()
    visitor = office.listener()
    for second in range(5):
        office.wait(second)
        office.alarm()
    office.wait(40)
    assert checkins(visitor) == [(1, ["m0"]), (1, ["m1", "m2", "m3", "m4"])]


async def test_a_client_whose_socket_is_full_is_given_time() -> None:
    office = Office()
    visitor = office.listener()
    office.alarm()
    visitor.client.full()
    office.wait(59)
    assert checkins(visitor) == []
    visitor.client.drained()
    office.wait(60)
    assert checkins(visitor) == [(1, ["m0"])]


async def test_a_client_that_leaves_owes_nothing() -> None:
    office = Office()
    visitor = office.listener()
    office.alarm()
    visitor.client.gone(1000)
    office.wait(100)
    assert (office.told, office.curator._accounts, office.curator._clients, office.curator._queue) == ([], {}, {}, [])


async def test_of_too_many_the_oldest_are_told_before_their_time() -> None:
    office = Office()
    visitor = office.listener()
    office.alarm(MAX_MISSING + 2)
    assert office.curator.unacknowledged == MAX_MISSING
    visitor.say("ack", message_id="m0")
    visitor.socket.read()
    office.wait(30)
    assert [told.missing for told in office.told] == [["m1"]]
    assert len(checkins(visitor)[0][1]) == MAX_MISSING
    office.alarm(2 * MAX_MISSING)
    assert len(office.told) > 1
    assert office.curator.unacknowledged == MAX_MISSING


async def test_the_same_updates_are_told_under_the_same_id() -> None:
    ids = []
    for _ in range(2):
        office = Office()
        visitor = office.listener()
        visitor.client.id = "c1"
        office.alarm()
        office.wait(90)
        ids.append(office.told[0].message_id)
    assert ids[0] == ids[1]


async def test_many_connections_are_looked_at_by_and_by() -> None:
    office = Office()
    visitors = [office.listener(f"a{number}") for number in range(STRIDE + 1)]
    office.alarm()
    office.now = 30
    (timer,) = office.timers
    office.timers.clear()
    timer.act()
    assert office.curator.checkins == STRIDE
    office.wait(30)
    assert all(checkins(visitor) for visitor in visitors)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.one_of(st.just("alarm"), st.integers(0, 20), st.sampled_from(["ack", "full", "drained"]))))
def test_every_critical_event_is_acknowledged_asked_for_or_told(steps: list[Any]) -> None:
    async def go() -> None:
        office = Office()
        visitor = office.listener()
        acknowledged: set[str] = set()
        for step in steps:
            if step == "alarm":
                office.alarm()
            elif step == "ack" and office.stored:
                acknowledged.add(f"m{len(office.stored) - 1}")
                visitor.say("ack", message_id=f"m{len(office.stored) - 1}")
            elif step == "full":
                visitor.client.full()
            elif step == "drained":
                visitor.client.drained()
            elif isinstance(step, int):
                office.wait(office.now + step)
        visitor.client.drained()
        office.wait(office.now + 200)
        told = [message_id for event in office.told for message_id in event.missing]
        everything = {f"m{number}" for number in range(len(office.stored))}
        assert len(told) == len(set(told))
        assert everything - acknowledged <= set(told) <= everything
        assert office.curator.unacknowledged == 0

    asyncio.run(go())
