"""Which publishes the broker has confirmed, refused or returned."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.confirms import Confirms
from shared.bus.frames import Delivery
from shared.errors import Unavailable, Unconfirmed, Unroutable


def published(count: int, work: Callable[[Confirms], None]) -> list[type | bool | None]:
    """How each of so many publishes stands after some work: None confirmed, an error's class, False still waiting."""

    async def run() -> list[type | bool | None]:
        confirms = Confirms()
        futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
        for number, future in enumerate(futures, 1):
            confirms.expect(future, "e", "k", f"m{number}")
        work(confirms)
        states: list[type | bool | None] = []
        for future in futures:
            error = future.exception() if future.done() else None
            states.append((type(error) if error else None) if future.done() else False)
        return states

    return asyncio.run(run())


def test_a_confirm_is_for_one_message_and_a_multiple_one_for_all_before_it_too() -> None:
    assert published(4, lambda confirms: confirms.settle(2, multiple=False, refused=False)) == [
        False,
        None,
        False,
        False,
    ]
    assert published(4, lambda confirms: confirms.settle(3, multiple=True, refused=False)) == [None, None, None, False]
    assert published(2, lambda confirms: confirms.settle(2, multiple=True, refused=True)) == [Unavailable] * 2


def test_a_confirm_nobody_waits_for_is_nothing() -> None:
    assert published(1, lambda confirms: confirms.settle(7, multiple=False, refused=False)) == [False]
    assert published(0, lambda confirms: confirms.settle(0, multiple=True, refused=False)) == []


def test_a_returned_message_is_unroutable_though_its_confirm_follows() -> None:
    def work(confirms: Confirms) -> None:
        message = Delivery(0, False, "e", "k")
        message.message_id = "m2"
        confirms.returned("NO_ROUTE", message)
        confirms.settle(2, multiple=True, refused=False)

    assert published(2, work) == [None, Unroutable]


def test_what_was_not_confirmed_when_the_connection_is_lost_is_unknown() -> None:
    def work(confirms: Confirms) -> None:
        confirms.settle(1, multiple=False, refused=False)
        confirms.lost("reset")
        confirms.settle(2, multiple=False, refused=False)

    assert published(3, work) == [None, Unconfirmed, Unconfirmed]


@pytest.mark.parametrize("refused", [True, False])
def test_somebody_who_gave_up_is_left_alone(refused: bool) -> None:
    async def run() -> None:
        confirms = Confirms()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirms.expect(future, "e", "k", "m")
        future.cancel()
        confirms.settle(1, multiple=False, refused=refused)
        confirms.lost("reset")

    asyncio.run(run())


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.booleans()), max_size=12))
def test_whatever_the_broker_says_each_publish_is_settled_once_by_the_first_word(
    words: list[tuple[int, bool, bool]],
) -> None:
    expected: dict[int, type | None] = {}
    for number, multiple, refused in words:
        for each in range(1, number + 1) if multiple else (number,):
            if each <= 10:
                expected.setdefault(each, Unavailable if refused else None)

    def work(confirms: Confirms) -> None:
        for number, multiple, refused in words:
            confirms.settle(number, multiple=multiple, refused=refused)

    assert published(10, work) == [expected.get(number, False) for number in range(1, 11)]
