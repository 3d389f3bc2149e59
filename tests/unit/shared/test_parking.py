"""Commands that wait: who is woken by what, and when their time is up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from shared.bus import parking
from shared.bus.frames import Delivery
from shared.bus.items import Item
from shared.bus.parking import Parking, Wait, Wake
from shared.messages import decode_command, encode_command, new_id

NONE: frozenset[str] = frozenset()


def item(message_id: str = "") -> Item:
    data = {"agent_name": "a", "worker_id": "w"}
    body = encode_command("claim_task", data, message_id=message_id or new_id(), sender_agent_id="ada")
    return Item(Delivery(1, False, "e", "k"), decode_command(body))


def parked(place: Parking, topic: str = "a", abilities: frozenset[str] = NONE, session: str | None = None) -> Item:
    made, wait = item(), Wait(topic, abilities, session, 60)
    place.admit(made, wait)
    place.park(made, wait)
    return made


def waiting(test: Callable[[Parking], Awaitable[None]]) -> None:
    async def run() -> None:
        place = Parking(lambda _: None)
        await test(place)
        place.clear()

    asyncio.run(run())


def test_as_many_are_woken_as_things_came_the_longest_waiting_first():
    async def test(place: Parking) -> None:
        items = [parked(place) for _ in range(3)]
        assert place.wake([Wake("a", NONE, "s", 2)]) == (items[:2], [])
        assert place.wake([Wake("a", NONE, "s", 2)]) == (items[2:], [Wake("a", NONE, "s", 1)])
        assert len(place) == 0

    waiting(test)


def test_the_copies_of_what_was_answered_wait_no_longer_and_are_not_woken():
    async def test(place: Parking) -> None:
        first = parked(place)
        again, other = item(first.command.message_id), parked(place)
        wait = Wait("a", NONE, None, 60)
        place.admit(again, wait)
        place.park(again, wait)
        assert place.take_copies(["nobody", first.command.message_id]) == [first, again]
        assert place.take_copies([first.command.message_id]) == []
        assert place.wake([Wake("a", NONE, "s", 2)]) == ([other], [Wake("a", NONE, "s", 1)])
        assert len(place) == 0

    waiting(test)


def test_only_who_is_able_and_wants_it_is_woken():
    async def test(place: Parking) -> None:
        parked(place, "b")
        parked(place)
        parked(place, abilities=frozenset("xy"), session="other")
        able = parked(place, abilities=frozenset("xyz"))
        own = parked(place, abilities=frozenset("xy"), session="s")
        assert place.wake([Wake("a", frozenset("xy"), "s", 5)])[0] == [able, own]
        assert len(place) == 3

    waiting(test)


def test_when_nobody_knows_what_came_one_of_each_kind_looks():
    async def test(place: Parking) -> None:
        first, _ = parked(place), parked(place)
        other = parked(place, abilities=frozenset("x"))
        assert place.wake([Wake("a")]) == ([first, other], [Wake("a")])

    waiting(test)


def test_one_who_looks_again_keeps_his_place_and_his_end():
    async def test(place: Parking) -> None:
        first, second = parked(place), parked(place)
        end = first.waits_until
        assert place.wake([Wake("a", NONE, "s")])[0] == [first]
        wait = Wait("a", NONE, None, 60)
        place.admit(first, wait)
        place.park(first, wait)
        assert first.waits_until == end
        assert place.wake([Wake("a", NONE, "s", 2)])[0] == [first, second]

    waiting(test)


def test_who_looked_too_early_can_tell():
    async def test(place: Parking) -> None:
        before = place.heard()
        place.wake([Wake("a", NONE, "s"), Wake("b")])
        assert place.heard_since(before) == {"a", "b"}
        assert place.heard_since(place.heard()) == set()

    waiting(test)


def test_when_its_time_is_up_a_command_is_handed_back():
    async def run() -> list[Item]:
        over: list[Item] = []
        up = asyncio.Event()

        def on_due(due: Item) -> None:
            over.append(due)
            up.set()

        place = Parking(on_due)
        made, wait = item(), Wait("a", NONE, None, 0.01)
        place.admit(made, wait)
        place.park(made, wait)
        async with asyncio.timeout(5):
            await up.wait()
        assert over == [made]
        assert len(place) == 0
        return over

    assert len(asyncio.run(run())) == 1


def test_wakes_travel():
    wakes: list[Any] = [Wake("a", frozenset("xy"), "s", 3), Wake("b")]
    assert parking.from_rows(parking.as_rows(wakes)) == wakes


def test_wakes_of_one_kind_are_told_as_one():
    wakes = [Wake("a", NONE, "s"), Wake("a", NONE, "t"), Wake("a", NONE, "s", 2)]
    assert parking.joined(wakes) == [Wake("a", NONE, "s", 3), Wake("a", NONE, "t")]
