"""Rooms with bots while the broker and the database are restarted, and replicas freeze, come and go."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from cli.local.postgres import Postgres
from standins.messages_api import MessagesAPI
from tests.conftest import migrate, require_rabbitmq
from tests.integration.bus.broker import Broker
from tests.integration.claude_worker.rooms import Rooms, clients_of
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.timeout(300)
ROOMS = [f"room-{number}" for number in range(4)]


@pytest.fixture(scope="module")
def api() -> Iterator[MessagesAPI]:
    with MessagesAPI() as running:
        yield running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Postgres]]:
    """A broker and a database of these tests' own, with nothing but bots' workers on them."""
    require_rabbitmq()
    folder = tmp_path_factory.mktemp("servers")
    broker, database = Broker(folder / "rabbitmq"), Postgres(folder / "postgres")
    try:
        broker.launch()
        database.start()
        migrate(database.url)
        broker.wait()
        yield broker, database
    finally:
        broker.kill()
        database.kill()


@pytest.fixture(scope="module")
def rooms(
    servers: tuple[Broker, Postgres], tmp_path_factory: pytest.TempPathFactory, api: MessagesAPI
) -> Iterator[Rooms]:
    """Rooms with one worker at first, and more as the tests go on."""
    broker, database = servers
    made = Rooms(broker.url, database.url, tmp_path_factory.mktemp("rooms"), api)
    made.start()
    yield made
    made.close()


async def shares(rooms: Rooms) -> list[int]:
    """How many partitions each worker that lives has."""
    owned = "select owner, count(*) from chat_partitions where owner is not null group by owner"
    rows = await asyncio.to_thread(rooms.sql, owned)
    return sorted(count for _, count in rows)


def shared(rooms: Rooms, *wanted: int) -> Callable[[], Awaitable[bool]]:
    """Whether these are the shares."""

    async def look() -> bool:
        return await shares(rooms) == list(wanted)

    return look


async def asked(rooms: Rooms, text: str) -> None:
    """Return when Claude was asked this."""

    async def look() -> bool:
        return any(text in each.prompt for each in rooms.api.requests)

    await eventually_async(look, 30, because=f"a request with {text!r}")


def times_asked(rooms: Rooms, text: str) -> int:
    return sum(text in each.prompt for each in rooms.api.requests)


def answers(rooms: Rooms, room: str) -> list[dict[str, Any]]:
    """The answers in a room, in the order in which they were told; an event that the broker has twice is one."""
    told = {event["message_id"]: event["turn"] for event in rooms.events("chat_answered") if event["room_id"] == room}
    return list(told.values())


def test_a_broker_restarted_in_mid_answer_costs_no_answer_and_brings_none_twice(
    rooms: Rooms, servers: tuple[Broker, Postgres]
) -> None:
    rooms.talk("my colour is teal [[say noted]]", "broker")

    async def restart() -> dict[str, Any]:
        turn = await rooms.said("[[recall colour]] [[wait 3]]", "broker")
        await asked(rooms, "[[recall colour]] [[wait 3]]")
        await asyncio.to_thread(servers[0].stop)
        await servers[0].start_again()
        return await rooms.ended(turn["turn_id"], 60)

    ended = rooms.run(restart())
    assert (ended["event"], ended["answer"], ended["path"], ended["attempt"]) == (
        "chat_answered", "my colour is teal", "hot", 1,
    )  # fmt: skip
    again = eventually(lambda: talk_again(rooms, "broker"), 40)
    assert (again["answer"], again["path"]) == ("my colour is teal", "hot")
    assert [turn["number"] for turn in answers(rooms, "broker")] == [1, 2, 3]


def talk_again(rooms: Rooms, room: str) -> dict[str, Any]:
    """As `talk`, also while the way to the bot is not there yet; the same message however often it is said."""
    try:
        return rooms.talk("[[recall colour]]", room, message_id=f"again-{room}")
    except KeyError as refused:
        raise AssertionError(f"not accepted yet: {refused}") from None


def test_what_is_answered_while_the_database_is_away_is_kept_until_it_is_back(
    rooms: Rooms, servers: tuple[Broker, Postgres]
) -> None:
    async def restart() -> dict[str, Any]:
        turn = await rooms.said("[[say kept]] [[wait 2]]", "database")
        await asked(rooms, "[[say kept]]")
        await asyncio.to_thread(servers[1].stop)

        async def answered() -> bool:
            return any(event["turn_id"] == turn["turn_id"] for event in rooms.events("chat_delta"))

        await eventually_async(answered, 30, because="the answer while the database is away")
        servers[1].start()
        return await rooms.ended(turn["turn_id"], 60)

    ended = rooms.run(restart())
    assert (ended["event"], ended["answer"], ended["attempt"]) == ("chat_answered", "kept", 1)
    assert times_asked(rooms, "[[say kept]]") == 1


def test_a_replica_frozen_for_longer_than_its_lease_writes_nothing_when_it_goes_on_and_closes_its_clients(
    rooms: Rooms,
) -> None:
    while len(rooms.processes) < 2:
        rooms.start()
    rooms.run(eventually_async(shared(rooms, 8, 8), 60))
    rooms.talk("my colour is teal [[say noted]]", "frozen")

    async def freeze() -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        turn = await rooms.said("[[recall colour]] [[wait 4]]", "frozen")
        await asked(rooms, "[[recall colour]] [[wait 4]]")
        ((owner,),) = await asyncio.to_thread(
            rooms.sql, "select status->>'pid' from chat_workers join chat_partitions on owner = worker_id "
            f"where partition = (select partition from turns where turn_id = '{turn['turn_id']}')",
        )  # fmt: skip
        frozen = next(process for process in rooms.processes if process.pid == int(owner))
        frozen.send_signal(signal.SIGSTOP)
        return frozen, await rooms.ended(turn["turn_id"], 60)

    frozen, ended = rooms.run(freeze())
    clients = clients_of(frozen)
    try:
        assert (ended["event"], ended["answer"], ended["attempt"]) == ("chat_answered", "my colour is teal", 2)
        assert clients, "Claude has answered the frozen one as well"
    finally:
        frozen.send_signal(signal.SIGCONT)
    eventually(lambda: not any(client.is_running() for client in clients), 20, because="its clients are closed")
    rooms.run(eventually_async(shared(rooms, 8, 8), 30))
    again = rooms.talk("[[recall colour]]", "frozen")
    assert again["answer"] == "my colour is teal"
    assert [(turn["number"], turn["attempt"]) for turn in answers(rooms, "frozen")] == [(1, 1), (2, 2), (3, 1)]


def test_three_then_five_then_two_replicas_share_evenly_and_every_room_keeps_its_order(rooms: Rooms) -> None:
    async def talk(room: str, until: asyncio.Event) -> list[str]:
        """Say one thing after the other without waiting for more than the last answer but one."""
        turns: list[str] = []
        while not until.is_set():
            turns.append((await rooms.said(f"[[say {room} {len(turns)}]]", room))["turn_id"])
            if len(turns) > 1:
                await rooms.ended(turns[-2], 90)
        return turns

    async def grow_and_shrink() -> list[list[str]]:
        while len(rooms.processes) < 3:
            rooms.start()
        await eventually_async(shared(rooms, 5, 5, 6), 90)
        until = asyncio.Event()
        talking = [asyncio.create_task(talk(room, until)) for room in ROOMS]
        rooms.start()
        rooms.start()
        await eventually_async(alive(rooms, 5), 150)
        grown = await seconds_until(shared(rooms, 3, 3, 3, 3, 4))
        for leaving in rooms.processes[:3]:
            leaving.send_signal(signal.SIGTERM)
        await eventually_async(alive(rooms, 2), 30)
        shrunk = await seconds_until(shared(rooms, 8, 8))
        until.set()
        said = await asyncio.gather(*talking)
        for turns in said:
            await rooms.ended(turns[-1], 60)
        # On a machine with nothing else to do it takes some seconds; other tests run beside this one.
        assert max(grown, shrunk) < 30, f"{grown:.1f} s to five, {shrunk:.1f} s to two"
        return list(said)

    said = rooms.run(grow_and_shrink())
    for room, turns in zip(ROOMS, said, strict=True):
        told = answers(rooms, room)
        assert [turn["turn_id"] for turn in told] == turns
        assert [turn["answer"] for turn in told] == [f"{room} {number}" for number in range(len(turns))]
    assert [process.wait(20) for process in rooms.processes[:3]] == [0, 0, 0]
    assert sum(map(len, said)) >= 2 * len(ROOMS)


async def seconds_until(condition: Callable[[], Awaitable[bool]]) -> float:
    began = time.monotonic()
    await eventually_async(condition, 60)
    return time.monotonic() - began


def alive(rooms: Rooms, count: int) -> Callable[[], Awaitable[bool]]:
    """Whether so many workers want a share."""

    async def look() -> bool:
        asked = "select count(*) from chat_workers where not leaving and seen > now() - interval '8 s'"
        return bool(await asyncio.to_thread(rooms.sql, asked) == [(count,)])

    return look
