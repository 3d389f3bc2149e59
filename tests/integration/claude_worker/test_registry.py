"""Who has which partition: shares, leases, and the fence before what comes too late."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from services.claude_worker.store import registry
from services.claude_worker.store.registry import Fenced, Ownership, View
from tests.integration.handling import Handling


@pytest.fixture
def database(database_url: str) -> Iterator[Handling]:
    handling = Handling(database_url)
    yield handling
    handling.close()


def beat(database: Handling, worker_id: str, *, leaving: bool = False) -> View:
    async def once() -> View:
        async with database.database.transaction() as tx:
            return await registry.beat(tx, worker_id, {"clients": 0}, leaving=leaving)

    return database.run(once())


def let_lapse(database: Handling, worker_id: str) -> None:
    """As if a worker had not been heard of for as long as a lease lasts."""
    database.sql(
        "update chat_workers set seen = now() - interval '9 s' where worker_id = :worker_id", worker_id=worker_id
    )
    database.sql(
        "update chat_partitions set lease = now() - interval '1 s' where owner = :worker_id", worker_id=worker_id
    )


def release(database: Handling, *ownerships: Ownership) -> None:
    async def all_of_them() -> None:
        async with database.database.transaction() as tx:
            for ownership in ownerships:
                await registry.release(tx, ownership)

    database.run(all_of_them())


def test_one_worker_has_all_and_gives_half_to_a_second(database: Handling) -> None:
    assert set(beat(database, "a").epochs) == set(range(16))
    assert beat(database, "b") == View({}, 8, [])
    first = beat(database, "a")
    assert (len(first.epochs), first.share) == (16, 8)
    release(database, *(Ownership(partition, "a", 1) for partition in range(8)))
    assert beat(database, "b").epochs == dict.fromkeys(range(8), 2)
    assert set(beat(database, "a").epochs) == set(range(8, 16))


def test_what_a_dead_worker_had_is_the_others_in_a_new_epoch(database: Handling) -> None:
    beat(database, "a")
    let_lapse(database, "a")
    assert beat(database, "b").epochs == dict.fromkeys(range(16), 2)


def test_an_owner_hears_where_something_is_open_of_a_bot_that_is_off(database: Handling) -> None:
    database.sql("insert into chats (room_id, bot_id) values ('r', 'a'), ('r', 'b')")
    database.sql(
        "insert into turns (turn_id, room_id, bot_id, partition, number, status, message_id, sender_agent_id, hops,"
        " trust, user_name, text) select bot_id, room_id, bot_id, 3, 1, 'parked', 'm', 's', 0, 'trusted', 'Ada', 'hi'"
        " from chats"
    )
    assert beat(database, "a").to_stop == []
    database.sql("insert into chat_switches (bot_id, switched_by) values ('b', 'root')")
    assert beat(database, "a").to_stop == [(3, "r", "b")]
    assert beat(database, "other").to_stop == []
    database.sql("insert into chat_switches (bot_id, switched_by) values ('', 'root')")
    assert sorted(beat(database, "a").to_stop) == [(3, "r", "a"), (3, "r", "b")]


def test_a_worker_that_leaves_has_no_share(database: Handling) -> None:
    beat(database, "a")
    assert beat(database, "a", leaving=True).share == 0


def test_what_an_owner_of_an_earlier_epoch_writes_is_refused_even_when_he_is_heard_of_again(database: Handling) -> None:
    epoch = beat(database, "a").epochs[3]
    let_lapse(database, "a")
    beat(database, "b")
    assert 3 not in beat(database, "a").epochs

    async def write(owner: str, epoch: int) -> None:
        async with database.database.transaction() as tx:
            await registry.hold(tx, Ownership(3, owner, epoch))

    database.run(write("b", 2))
    with pytest.raises(Fenced, match="partition 3 is not a's in epoch 1 any more"):
        database.run(write("a", epoch))


def test_who_takes_a_partition_over_waits_for_what_is_just_being_written(database: Handling) -> None:
    beat(database, "a")
    let_lapse(database, "a")
    order: list[str] = []

    async def both() -> None:
        written = asyncio.Event()

        async def write() -> None:
            async with database.database.transaction() as tx:
                await registry.hold(tx, Ownership(3, "a", 1))
                written.set()
                # As long as it takes the other to be kept waiting.
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(taking), 0.3)
                order.append("written")

        async def take() -> None:
            await written.wait()
            async with database.database.transaction() as tx:
                await registry.beat(tx, "b", {})
            order.append("taken")

        taking = asyncio.create_task(take())
        await asyncio.gather(write(), taking)

    database.run(both())
    assert order == ["written", "taken"]
