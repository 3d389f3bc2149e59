"""Following the event stream, and reading parts of it."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from shared.bus.bodies import packed
from shared.bus.publisher import Publisher
from shared.bus.tail import StreamEvent, Tail, last_offset, read_range
from shared.bus.topology import EVENTS
from shared.errors import BusError, Unavailable
from tests.integration.bus.broker import Broker
from tests.integration.bus.clients import Clients, until

pytestmark = pytest.mark.anyio


async def publish(publisher: Publisher, *numbers: int) -> None:
    sent = [publisher.send(EVENTS, f"test.{n}", b"%d" % n, message_id=str(n)) for n in numbers]
    for error in await asyncio.gather(*sent, return_exceptions=True):
        if error is not None:
            raise error


def numbers(events: list[StreamEvent]) -> list[int]:
    return [int(event.body) for event in events]


async def read(url: str, after: int, until_: int) -> list[StreamEvent]:
    return [event async for events in read_range(url, name="test", after=after, until=until_) for event in events]


async def test_every_event_comes_once_and_in_order(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    await publish(publisher, *range(1000))
    events = clients.tail(fresh_amqp_url)
    await until(lambda: len(events) == 1000)
    await publish(publisher, *range(1000, 3000))

    await until(lambda: len(events) == 3000)
    assert numbers(events) == list(range(3000))
    assert all(one.offset < other.offset for one, other in pairwise(events))
    assert (events[7].routing_key, events[7].message_id) == ("test.7", "7")


async def test_it_starts_exactly_where_it_is_told(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    await publish(publisher, *range(100))
    whole = clients.tail(fresh_amqp_url)
    await until(lambda: len(whole) == 100)

    for at in (1, 50, 99):
        part = clients.tail(fresh_amqp_url, start=whole[at].offset)
        await until(lambda: len(part) >= 100 - at)  # noqa: B023 (awaited here)
        assert part == whole[at:]


async def test_next_means_from_now_on_and_last_the_newest_there_is(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    await publish(publisher, 1, 2, 3)
    following = {}
    for start in ("next", "last"):
        events: list[StreamEvent] = []
        tail = Tail(fresh_amqp_url, name="test", on_events=events.extend, start=start)  # type: ignore[arg-type]
        clients.spawn(tail.run())
        await until(lambda: tail.connected)  # noqa: B023 (awaited here)
        following[start] = events
    await publish(publisher, 4)
    await until(lambda: numbers(following["next"]) == [4] and numbers(following["last"]) == [3, 4])


async def test_a_stream_that_is_not_there_yet_is_waited_for(fresh_amqp_url: str, clients: Clients) -> None:
    events = clients.tail(fresh_amqp_url)
    publisher = await clients.publisher(fresh_amqp_url)
    await publish(publisher, 1)
    await until(lambda: numbers(events) == [1])


async def test_a_large_event_comes_out_as_it_went_in_and_a_damaged_one_stops_nobody(
    fresh_amqp_url: str, clients: Clients
) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    large = b'{"text":"' + b"x" * 1_000_000 + b'"}'
    body, encoding = packed(large)
    await publisher.publish(EVENTS, "test.1", body, message_id="1", content_encoding=encoding)
    await publisher.publish(EVENTS, "test.2", b"no gzip", message_id="2", content_encoding="gzip")
    await publisher.publish(EVENTS, "test.3", b"3", message_id="3", headers={"x-stream-offset": 2**40})

    events = clients.tail(fresh_amqp_url)
    await until(lambda: len(events) == 3)
    assert [event.body for event in events] == [large, b"", b"3"]
    assert events[2].offset < 10


async def test_a_slow_reader_holds_the_stream_back_and_loses_nothing(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    await publish(publisher, *range(6000))
    taken: list[StreamEvent] = []
    go_on = asyncio.Event()

    async def slowly(events: list[StreamEvent]) -> None:
        await go_on.wait()
        taken.extend(events)

    tail = Tail(fresh_amqp_url, name="test", on_events=slowly, start="first")
    clients.spawn(tail.run())
    await until(lambda: tail.connected)
    assert not taken
    go_on.set()
    await until(lambda: len(taken) == 6000)
    assert numbers(taken) == list(range(6000))


async def test_a_killed_broker_makes_neither_a_hole_nor_a_copy(broker: Broker, clients: Clients) -> None:
    """The publisher may have to repeat what was not confirmed; the tail adds no repetition of its own."""
    publisher = await clients.publisher(broker.url)
    events = clients.tail(broker.url, start="next")
    sent = 0

    async def load() -> None:
        nonlocal sent
        while True:
            batch = range(sent, sent + 20)
            while True:
                with suppress(BusError):
                    await publish(publisher, *batch)
                    break
                await publisher.wait_connected()
                await asyncio.sleep(0.05)
            sent += 20

    await until(lambda: numbers(events)[-1:] == [-1] or _mark(publisher))
    loading = clients.spawn(load())
    for _ in range(2):
        before = sent
        await until(lambda: sent > before + 200)  # noqa: B023 (awaited here)
        await broker.crash()
        await broker.start_again()
    before = sent
    await until(lambda: sent > before + 200)
    loading.cancel()
    last = sent

    await until(lambda: last - 1 in numbers(events))
    offsets = [event.offset for event in events]
    assert offsets == sorted(set(offsets))
    assert set(range(last)) <= set(numbers(events))
    # Told apart from what the stream itself holds twice: a second reader sees the same.
    again = clients.tail(broker.url, start=offsets[0])
    await until(lambda: len(again) >= len(events))
    assert again[: len(events)] == events


def _mark(publisher: Publisher) -> bool:
    """Until the tail is known to follow, since it starts at the next event."""
    publisher.send(EVENTS, "test.mark", b"-1", message_id="mark").add_done_callback(lambda done: done.exception())
    return False


async def test_what_comes_while_the_connection_is_lost_before_the_first_event_is_not_passed_over(
    broker: Broker, clients: Clients
) -> None:
    publisher = await clients.publisher(broker.url)
    events: list[StreamEvent] = []
    tail = Tail(broker.url, name="test", on_events=events.extend, start="next")
    running = clients.spawn(tail.run())
    await until(lambda: tail.connected)
    await broker.crash()
    await until(lambda: not tail.connected)

    # The broker is back, and an event published, before the tail is: it is still pausing.
    await broker.start_again()
    await until(lambda: publisher.connected)
    await publish(publisher, 123_456)
    await until(lambda: 123_456 in numbers(events))
    assert not running.done()


async def test_where_to_go_on_is_asked_after_a_reconnect(broker: Broker, clients: Clients) -> None:
    publisher = await clients.publisher(broker.url)
    asked = 0

    async def again() -> int:
        nonlocal asked
        asked += 1
        return await last_offset(broker.url, name="test")

    events = clients.tail(broker.url, start="next", on_reconnect=again)
    await until(lambda: numbers(events)[-1:] == [-1] or _mark(publisher))
    assert asked == 0
    await broker.crash()
    await broker.start_again()
    await until(lambda: asked and len(events) > 1 and events[-1].offset == events[-2].offset)


async def test_a_part_of_the_stream_is_read_exactly(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    for start in range(0, 3000, 300):
        await publish(publisher, *range(start, start + 300))
    whole = clients.tail(fresh_amqp_url)
    await until(lambda: len(whole) == 3000)
    offsets = [event.offset for event in whole]

    for first, last in ((0, 2999), (1, 2), (2998, 2999), (700, 2300), (299, 301)):
        assert await read(fresh_amqp_url, offsets[first], offsets[last]) == whole[first + 1 : last + 1]
    assert await read(fresh_amqp_url, -1, offsets[10]) == whole[:11]
    assert await last_offset(fresh_amqp_url, name="test") == offsets[-1]


async def test_a_broker_that_dies_under_a_reader_is_unavailable(broker: Broker, clients: Clients) -> None:
    publisher = await clients.publisher(broker.url)
    await publish(publisher, 1)
    last = await last_offset(broker.url, name="test")

    async def read_past_the_end() -> list[StreamEvent]:
        return await read(broker.url, last - 1, last + 5)

    reading = asyncio.ensure_future(read_past_the_end())
    await asyncio.wait([reading], timeout=0.5)
    await broker.crash()
    with pytest.raises(Unavailable):
        await reading
    with pytest.raises(Unavailable):
        await last_offset(broker.url, name="test")


async def test_an_empty_stream_has_no_last_event_and_a_busy_broker_does_not_look_like_one(
    fresh_amqp_url: str, clients: Clients
) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    assert await last_offset(fresh_amqp_url, name="test") == -1
    await publish(publisher, 1)
    found = await asyncio.gather(*(last_offset(fresh_amqp_url, name="test") for _ in range(30)))
    assert set(found) == {0}


async def test_the_last_event_of_a_stream_that_never_rests_is_told_all_the_same(
    fresh_amqp_url: str, clients: Clients
) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    events = clients.tail(fresh_amqp_url)

    async def chatter() -> None:
        while True:
            await publish(publisher, 1)

    clients.spawn(chatter())
    await until(lambda: len(events) > 50)
    before = events[-1].offset
    async with asyncio.timeout(5):
        assert await last_offset(fresh_amqp_url, name="test") >= before
