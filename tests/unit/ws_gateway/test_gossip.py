"""How a gateway's clients, its presence and the broker are joined, without a broker."""

import time

import pytest

from services.ws_gateway.agents.gossip import IDLE_SECONDS, Gossip
from services.ws_gateway.agents.roster import Seat
from services.ws_gateway.agents.seating import Closing
from shared.bus.publisher import Publisher
from shared.errors import Unavailable
from tests.unit.ws_gateway.house import House

pytestmark = pytest.mark.anyio


async def query(name: str, data: dict[str, object]) -> bytes:
    raise Unavailable("the broker is away")


def joined(house: House) -> Gossip:
    return Gossip(
        "amqp://nowhere.invalid", name="tests", gateway=house.gateway, intake=house.intake,
        publisher=Publisher("amqp://nowhere.invalid", name="tests"), query=query, told_is_known=lambda: False,
    )  # fmt: skip


def status_of(house: House, agent_id: str) -> str:
    (row,) = house.gateway.presence.agents(only=agent_id)
    return str(row["status"])


async def test_who_connects_and_leaves_is_seen_at_once() -> None:
    house = House()
    joined(house)
    ana = house.come("ana")
    assert status_of(house, "ana") == "online"
    assert house.gateway.presence.by_status() == {"online": 1, "working": 0, "idle": 0}
    ana.client.gone(1000)
    assert house.gateway.presence.agents() == []


async def test_after_long_silence_of_all_its_connections_an_agent_is_idle_until_a_frame_comes() -> None:
    house = House()
    gossip = joined(house)
    ana = house.come("ana")
    observer = house.come("ana", permission="observer")
    ana.say("agent_presence", status="working")
    later = time.monotonic() + IDLE_SECONDS + 1
    gossip._sweep(later - IDLE_SECONDS)
    assert status_of(house, "ana") == "working"
    gossip._sweep(later)
    assert status_of(house, "ana") == "idle"
    observer.say("ping")
    gossip._sweep(later + 1)
    assert status_of(house, "ana") == "working"


async def test_a_client_that_was_resumed_at_another_gateway_gives_its_seat_and_one_too_many_is_turned_away() -> None:
    house = House()
    gossip = joined(house)
    ana, bob = house.come("ana"), house.come("bob")
    roster = house.gateway.presence.roster
    roster.put("elsewhere", Seat("c1", "ana", "agent", "active", time.time(), takes_over=ana.client.id))
    gossip._tick(time.monotonic())
    assert ana.socket.closed == (4409, "resumed elsewhere")
    gossip._close(Closing(bob.client.id, "bob has an active connection already, at another gateway"))
    assert bob.socket.closed == (4409, "bob has an active connection already, at another gateway")
    house.come("ana")


async def test_an_answer_that_can_not_be_read_ends_only_the_asking() -> None:
    gossip = joined(House())

    async def nonsense(name: str, data: dict[str, object]) -> bytes:
        return b'{"presences": 5}'

    gossip._query, gossip._told_is_known = nonsense, lambda: True
    await gossip._recall()
    assert gossip._recalled
