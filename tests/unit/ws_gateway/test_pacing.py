"""Who is put on the slow lane and taken off it, with a gateway without sockets and a clock of the test's own."""

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ws_gateway.metrics import Readings
from services.ws_gateway.pace.pacing import Pacing, described, health
from shared.bus.tail import StreamEvent
from tests.unit.ws_gateway.house import House, Visitor

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Lodge(House):
    """A house with a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        old = self.gateway.pacing
        self.gateway.pacing = new = Pacing(self.hub, clock=self.clock)
        for hooks, before, after in (
            (self.gateway.on_beat, old.beat, new.beat),
            (self.gateway.on_pong, old.ponged, new.ponged),
            (self.gateway.on_released, old.forget, new.forget),
        ):
            hooks[hooks.index(before)] = after  # type: ignore[call-overload]

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += 1
            self.gateway.pacing.beat()

    def slow_down(self, visitor: Visitor, seconds: float = 2) -> None:
        """The socket is full, and takes 100,000 bytes in so many seconds."""
        visitor.socket.in_buffer = 100_000
        visitor.client.full()
        self.clock.now += seconds
        visitor.socket.in_buffer = 0
        visitor.client.drained()
        self.gateway.pacing.beat()

    def tell(self, kind: str, topic: str, **more: Any) -> None:
        offset = len(self.stored)
        body = json.dumps({"type": kind, "message_id": f"m{offset}", **more}).encode()
        self.stored.append(StreamEvent(offset, topic, body, f"m{offset}"))
        self.intake.take(self.stored[-1:])


def kinds(frames: list[Any]) -> list[str]:
    return [frame["type"] for frame in frames]


async def test_without_a_preference_a_slow_connection_gets_what_it_always_got() -> None:
    house = Lodge()
    visitor = house.come()
    visitor.say("subscribe", topics=["#"])
    house.slow_down(visitor)
    house.tell("memory_update", "memory.s1.updated")
    assert kinds(visitor.socket.read()) == ["memory_update"]
    assert visitor.client.quality.slow == "drain"
    assert described(visitor.client)["slow_lane"] is None


async def test_a_slow_connection_is_told_and_paced_and_told_again_when_it_has_recovered() -> None:
    house = Lodge()
    visitor = house.come()
    visitor.say("subscribe", topics=["#"], slow_connection_preference="summaries")
    house.tell("memory_update", "memory.s1.updated")
    assert kinds(visitor.socket.read()) == ["memory_update"]
    house.slow_down(visitor)
    assert visitor.socket.read() == [
        {
            "type": "connection_quality", "mode": "summary", "batch_delay": 10.0, "reason": "drain",
            "mean_ping_ms": None, "bytes_s": 50_000,
        }
    ]  # fmt: skip
    house.tell("memory_update", "memory.s1.updated")
    assert visitor.socket.read() == []
    assert described(visitor.client)["slow_lane"] == "summary"
    house.wait(10)
    assert kinds(visitor.socket.read()) == ["summary"]
    house.tell("memory_update", "memory.s1.updated")
    house.wait(15)
    told = visitor.socket.read()
    assert kinds(told) == ["summary", "connection_quality"]
    assert (told[1]["mode"], told[1]["batch_delay"]) == ("realtime", 0)
    house.tell("memory_update", "memory.s1.updated")
    assert kinds(visitor.socket.read()) == ["memory_update"]
    assert visitor.client.connection.pacer is None
    assert house.gateway.pacing.modes() == {"summary": 0, "full": 0, "critical_only": 0, "warmup": 0}
    registry = CollectorRegistry()
    house.gateway.pacing.attend(Readings(registry))
    assert registry.get_sample_value("switchyard_gateway_summarised_total") == 2
    assert registry.get_sample_value("switchyard_gateway_paced", {"mode": "full"}) == 0


async def test_a_preference_may_be_said_while_the_connection_is_slow_already() -> None:
    house = Lodge()
    visitor = house.come()
    visitor.say("subscribe", topics=["#"])
    house.slow_down(visitor)
    told = visitor.say("set_mode", mode="everything", slow_connection_preference="critical_only")
    assert kinds(told) == ["connection_quality", "subscribed"]
    told = visitor.say("set_mode", mode="everything", slow_connection_preference="full_delayed")
    assert (told[0]["mode"], told[0]["batch_delay"]) == ("full", 30)
    house.tell("a", "session.s1.a")
    assert visitor.socket.read() == []
    told = visitor.say("subscribe", topics=["b"])
    assert kinds(told) == ["a", "subscribed"]


async def test_long_pings_make_a_connection_slow() -> None:
    house = Lodge()
    visitor = house.come()
    visitor.say("subscribe", topics=["#"], slow_connection_preference="full_delayed")
    for _ in range(5):
        visitor.client.quality.pong(1500)
    visitor.client.beat()
    visitor.client.ponged(visitor.client.pulse.sent.to_bytes(4, "big"))
    visitor.socket.read()
    house.wait(1)
    (told,) = visitor.socket.read()
    assert (told["type"], told["reason"]) == ("connection_quality", "ping")


async def test_a_warm_up_is_for_live_events_and_what_is_asked_for_comes_at_once() -> None:
    house = Lodge()
    visitor = house.come()
    house.tell("a", "session.s1.a")
    told = visitor.say("subscribe", topics=["#"], since=0, warmup=True)
    assert kinds(told) == ["warmup", "subscribed", "a"]
    house.tell("a", "session.s1.a")
    house.tell("agent_presence", "agent.ben.presence")
    assert kinds(visitor.socket.read()) == ["agent_presence"]
    assert house.gateway.pacing.modes()["warmup"] == 1
    house.wait(30)
    assert kinds(visitor.socket.read()) == ["warmup", "warmup", "a"]
    assert visitor.client.connection.pacer is None


async def test_a_wrong_wish_is_an_error_and_changes_nothing() -> None:
    visitor = Lodge().come()
    assert visitor.error("subscribe", topics=["#"], required_data=["Not A Type"]) == "invalid"
    assert visitor.error("subscribe", topics=["#"], slow_connection_preference="whatever") == "invalid"
    assert visitor.client.connection.group is None


async def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    house = Lodge()
    visitor = house.come()
    visitor.say("subscribe", topics=["#"], slow_connection_preference="full_delayed", warmup=True)
    house.slow_down(visitor)
    visitor.client.full()
    visitor.client.gone(1006)
    pacing = house.gateway.pacing
    assert (pacing._watched, pacing._wishes) == ({}, {})
    house.wait(1)


async def test_health_is_whole_for_a_new_connection_and_told_with_what_it_is_made_of() -> None:
    visitor = Lodge().come()
    visitor.say("subscribe", topics=["#"])
    assert health(visitor.client) == 100
    assert described(visitor.client) == {
        "mean_ping_ms": None, "bytes_s": None, "queue": 0, "dropped": 0, "messages_out": 0, "messages_in": 1,
        "slow": None, "slow_lane": None,
    }  # fmt: skip
