"""Flood control: what one address may send and open, and what is remembered of addresses."""

import time

import pytest

from services.ws_gateway.door import floods
from services.ws_gateway.door.doors import Doors
from services.ws_gateway.door.floods import Floods
from services.ws_gateway.settings import GatewaySettings
from tests.unit.ws_gateway.house import SECRET, House

Told = list[tuple[str, str]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, which stands still unless moved."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def flooding(told: Told, **limits: int) -> Floods:
    return Floods(tell=lambda what, address, detail: told.append((what, address)), **limits)


def test_frames_of_all_connections_of_an_address_are_counted_together(clock: list[float]) -> None:
    told: Told = []
    one = flooding(told, frames_a_second=10)
    first, second, other = one.source("1.1.1.1"), one.source("1.1.1.1"), one.source("1.1.1.2")
    assert sum(source.frame() for _ in range(40) for source in (first, second)) == 40
    assert other.frame()
    clock[0] += 1
    assert sum(second.frame() for _ in range(40)) == 10
    assert told == [("flooding", "1.1.1.1")]


def test_new_connections_are_counted_apart_and_an_ipv6_house_is_one(clock: list[float]) -> None:
    told: Told = []
    one = flooding(told, connections_a_second=2)
    assert sum(one.source(f"2001:db8::{number:x}").connection() for number in range(50)) == 20
    assert one.source("2001:db8:0:1::1").connection()
    assert one.source("2001:db8::1").frame()
    assert told == [("connection_flood", "2001:db8::/64")]
    assert one.refused == 30


def test_a_flooding_address_is_told_of_once_a_minute(clock: list[float]) -> None:
    told: Told = []
    source = flooding(told, frames_a_second=1, connections_a_second=1).source("1.1.1.1")
    for _ in range(130):
        for _ in range(20):
            source.frame()
        clock[0] += 1
    assert told == [("flooding", "1.1.1.1")] * 3
    while source.connection():
        pass
    assert told[3:] == [("connection_flood", "1.1.1.1")]


def test_memory_is_bounded_and_whoever_has_a_connection_is_not_forgotten(clock: list[float]) -> None:
    one = Floods(frames_a_second=1, remembered=100)
    held = one.source("9.9.9.9")
    while held.frame():
        pass
    for number in range(10_000):
        one.source(f"10.0.{number // 256}.{number % 256}")
    assert len(one) == 101
    assert one.source("9.9.9.9") is held
    del held
    for number in range(200):
        one.source(f"10.1.0.{number}")
    assert len(one) == 100


@pytest.mark.anyio
async def test_a_connection_of_a_flooding_address_is_closed_and_its_neighbours_are_not() -> None:
    doors = Doors(SECRET, floods=Floods(frames_a_second=20))
    house = House(doors=doors)
    first, second = house.come("ana"), house.come("eve")
    assert sum(first.client.answers.counted() for _ in range(70)) == 70
    for _ in range(20):
        second.client.answers.counted()
    assert second.socket.closed == (4429, "too many frames a second from this address")
    assert first.socket.closed is None
    (alert,) = doors.alerts.posting.waiting
    assert (alert.what, alert.address, alert.connection_id) == ("flooding", "1.2.3.4", None)


def test_the_settings_make_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DATABASE_URL": "", "AMQP_URL": "amqp://x", "SWITCHYARD_SECRET": SECRET,
        "SWITCHYARD_TRUSTED_PROXIES": "10.0.0.0/8", "SWITCHYARD_GATEWAY_CONNECTS_PER_ADDRESS": "1",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = GatewaySettings(_env_file=None)  # type: ignore[call-arg]
    assert "10.1.1.1" in settings.proxies
    source = settings.floods.source("1.1.1.1")
    assert sum(source.connection() for _ in range(100)) == floods.BURST_SECONDS["connections"]
    monkeypatch.setenv("SWITCHYARD_TRUSTED_PROXIES", "nonsense")
    with pytest.raises(ValueError, match="'nonsense' is no address and no network"):
        GatewaySettings(_env_file=None)  # type: ignore[call-arg]
