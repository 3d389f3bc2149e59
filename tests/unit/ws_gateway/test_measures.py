"""What the gateway measures of itself."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from services.ws_gateway.metrics import Metrics, Readings
from services.ws_gateway.operation import measures as module
from services.ws_gateway.operation.measures import Measures
from shared.bus.tail import StreamEvent
from tests.unit.ws_gateway.house import House

pytestmark = pytest.mark.anyio


class Measured:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.house = House()
        self.is_live = True
        self.measures = Measures(self.registry, is_live=lambda: self.is_live)
        self.measures.attend(self.house.gateway, self.house.intake)
        self.offset = 0

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"switchyard_gateway_{name}", labels) or 0.0

    def take(self, *kinds: str, age_s: float = 0.2, **fields: object) -> None:
        """Events of these types arrive together."""
        timestamp = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
        events = []
        for kind in kinds:
            body = {"type": kind, "message_id": f"m{self.offset}", "timestamp": timestamp, **fields}
            events.append(StreamEvent(self.offset, "memory.s1.updated", json.dumps(body).encode(), ""))
            self.offset += 1
        self.house.intake.take(events)


async def test_the_way_of_an_event_is_measured_once_for_those_that_arrive_together() -> None:
    measured = Measured()
    measured.take("test", "memory_update", "memory_update", "test")
    assert measured.value("routing_seconds_count") == 1
    assert measured.value("memory_lag_seconds_count") == 1
    assert 0.2 <= measured.value("routing_seconds_sum") < 2
    measured.take("test")
    assert measured.value("routing_seconds_count") == 2
    assert measured.value("memory_lag_seconds_count") == 1


async def test_what_happened_before_the_start_is_not_measured() -> None:
    measured = Measured()
    measured.is_live = False
    measured.take("memory_update", "security_emergency_broadcast")
    assert measured.value("routing_seconds_count") == 0
    assert measured.value("lane_broadcasts_total", lane="security_emergency") == 0
    measured.is_live = True
    measured.take("security_emergency_broadcast", "critical_failure_broadcast", "critical_failure_broadcast")
    assert measured.value("lane_broadcasts_total", lane="security_emergency") == 1
    assert measured.value("lane_broadcasts_total", lane="critical_failure") == 2


@pytest.mark.parametrize(
    "timestamp",
    ["yesterday", 5, None, "0001-01-01T00:00:00"],
    ids=["a word", "a number", "nothing", "before all time"],
)
async def test_an_event_that_does_not_say_when_it_was_made_is_not_measured(timestamp: object) -> None:
    measured = Measured()
    measured.take("test", timestamp=timestamp)
    assert measured.value("routing_seconds_count") == 0


async def test_a_clock_that_is_ahead_is_no_negative_latency() -> None:
    measured = Measured()
    measured.take("test", age_s=-5)
    assert measured.value("routing_seconds_sum") == 0


async def test_who_comes_back_soon_has_reconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured()
    first = measured.house.come("ana")
    first.client.gone(1006)
    assert measured.value("connection_seconds_count") == 1
    measured.house.come("ana", permission="observer")
    assert measured.value("reconnections_total", how="returned") == 0
    second = measured.house.come("ana")
    assert measured.value("reconnections_total", how="returned") == 1
    second.client.gone(1006)
    monkeypatch.setattr(module, "RECONNECT_SECONDS", -1)
    measured.house.come("ana")
    assert measured.value("reconnections_total", how="returned") == 1
    assert measured.value("establishment_seconds_count") == 4


async def test_those_who_left_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_AGENTS", 3)
    measured = Measured()
    for number in range(10):
        measured.house.come(f"a{number}").client.gone(1006)
    assert len(measured.measures._left) == 3


def test_readings_are_taken_when_they_are_asked_for() -> None:
    registry = CollectorRegistry()
    readings = Readings(registry)
    numbers = {"open": 1}
    readings.level("pacing", "Connections by how they are paced", lambda: numbers, label="state")
    readings.count("told", "What was told", lambda: numbers["open"] * 10)
    numbers["open"] = 4
    assert registry.get_sample_value("switchyard_gateway_pacing", {"state": "open"}) == 4
    assert registry.get_sample_value("switchyard_gateway_told_total") == 40


async def test_the_mean_size_of_messages_can_be_told_from_the_counts() -> None:
    registry = CollectorRegistry()
    house = House()
    Metrics(house.hub, registry)
    house.publish("a.b", "a.c")
    assert registry.get_sample_value("switchyard_gateway_events_framed_total") == 2
    assert (registry.get_sample_value("switchyard_gateway_event_bytes_total") or 0) > 60
    visitor = house.come()
    visitor.say("ping")
    assert house.gateway.metrics.messages_in == 1
    assert house.gateway.metrics.bytes_in > 10
