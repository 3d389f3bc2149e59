"""Who gets a client of the pool, who has to wait, and who has to go."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from services.claude_worker.bots import Bot
from services.claude_worker.failures import AttemptFailed
from services.claude_worker.pool.pool import TYPICAL_BYTES, Key, Pool
from tests.waiting import eventually_async

MB = 2**20


class Client:
    """What the pool knows of a client: no process, but it takes its time to connect and to go if it is told to."""

    numbers = count(1)

    def __init__(self, bot: Bot, resume: str | None) -> None:
        self.pid = next(self.numbers)
        self.home = Path(f"/{self.pid}")
        self.claude_session = resume or f"s{self.pid}"
        self.used_at = float(self.pid)
        self.is_alive = False
        self.given_up = False
        self.may_connect = asyncio.Event()
        self.may_connect.set()

    async def connect(self) -> None:
        await self.may_connect.wait()
        self.is_alive = True

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.is_alive = False

    def give_up(self) -> None:
        self.given_up = True

    def kill(self) -> None:
        self.is_alive = False


def pool_of(max_clients: int, max_mb: float | None = None, make: Any = Client) -> Pool:
    return Pool({"b": Bot()}, make, max_clients=max_clients, max_bytes=None if max_mb is None else int(max_mb * MB))


def key(name: str) -> Key:
    return Key(name, "b")


async def settled() -> None:
    """As far as everything goes by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_the_client_used_longest_ago_goes_first_and_one_that_is_busy_never() -> None:
    async def test() -> None:
        pool = pool_of(3)
        for name in "abc":
            await pool.lend(key(name), None, None)
        pool.give_back(key("b"))
        pool.give_back(key("c"))
        await pool.lend(key("d"), None, None)
        assert {name for name in "abcd" if pool.interrupt(key(name))} == {"a", "d"}
        assert set(pool.idle_conversations()) == {key("c")}
        assert pool.evictions == {"pool_full": 1}

    run(test)


def test_while_all_are_busy_rooms_wait_in_the_order_in_which_they_have_asked() -> None:
    async def test() -> None:
        pool, order = pool_of(1), list[str]()

        async def talk(name: str, times: int) -> None:
            session = None
            for _ in range(times):
                client = await pool.lend(key(name), session, None)
                session = client.claude_session
                order.append(name)
                await asyncio.sleep(0)
                pool.give_back(key(name))

        # A room with much to say does not keep the others out.
        await asyncio.gather(talk("a", 3), *(talk(name, 1) for name in "bcd"))
        assert order == ["a", "b", "c", "d", "a", "a"]
        assert pool.status()["waiting"] == 0

    run(test)


def test_nobody_goes_but_as_many_as_are_needed() -> None:
    async def test() -> None:
        pool = pool_of(3)
        for name in "abc":
            await pool.lend(key(name), None, None)
        waiting = asyncio.create_task(pool.lend(key("d"), None, None))
        await settled()
        for name in "abc":
            pool.give_back(key(name))
        await waiting
        assert (pool.status()["clients"], pool.evictions) == (3, {"pool_full": 1})

    run(test)


def test_clients_that_are_measured_to_take_too_much_go_and_new_ones_wait_until_there_is_room() -> None:
    async def test() -> None:
        pool = pool_of(10, max_mb=400)
        clients = {name: await pool.lend(key(name), None, None) for name in "ab"}
        pool.weigh({client.pid: 190 * MB for client in clients.values() if client.pid})
        waiting = asyncio.create_task(pool.lend(key("c"), None, None))
        await settled()
        assert not waiting.done() and pool.status()["waiting"] == 1
        pool.give_back(key("b"))
        clients["c"] = await waiting
        assert pool.evictions == {"memory": 1} and key("b") not in pool.idle_conversations()

        pool.give_back(key("a"))
        pool.weigh({client.pid: 210 * MB for client in clients.values() if client.pid})
        await settled()
        assert pool.status()["clients"] == 1 and pool.memory_bytes == 210 * MB
        assert pool.evictions == {"memory": 2}

    run(test)


def test_with_less_memory_than_one_client_takes_there_is_one_at_a_time() -> None:
    async def test() -> None:
        pool = pool_of(10, max_mb=TYPICAL_BYTES / MB / 2)
        most = 0

        async def talk(name: str) -> None:
            nonlocal most
            await pool.lend(key(name), None, None)
            most = max(most, pool.status()["clients"] + pool.status()["closing"])
            await asyncio.sleep(0)
            pool.give_back(key(name))

        await asyncio.gather(*(talk(name) for name in "abcdef"))
        await settled()
        assert most == 1 and pool.status()["clients"] == 0

    run(test)


def test_who_waits_or_connects_can_be_interrupted_and_takes_no_place() -> None:
    async def test() -> None:
        def make(bot: Bot, resume: str | None) -> Client:
            client = Client(bot, resume)
            client.may_connect.clear()
            made.append(client)
            return client

        made = list[Client]()
        pool = pool_of(1, make=make)
        connecting = asyncio.create_task(pool.lend(key("a"), None, None))
        waiting = [asyncio.create_task(pool.lend(key(name), None, None)) for name in "bcd"]
        await settled()
        assert (pool.status()["connecting"], pool.status()["waiting"]) == (1, 3)
        assert pool.interrupt(key("a")) and pool.interrupt(key("b")) and not pool.interrupt(key("z"))
        waiting[1].cancel()
        made[0].may_connect.set()
        for task in (connecting, waiting[0]):
            with pytest.raises(AttemptFailed):
                await task
        await settled()
        assert len(made) == 2 and (pool.status()["connecting"], pool.status()["waiting"]) == (1, 0)
        made[1].may_connect.set()
        assert await waiting[2] is made[1]  # type: ignore[comparison-overlap]

    run(test)


def test_a_client_of_a_chat_that_was_forgotten_goes_and_one_of_another_room_hears_how_long_it_may_stay() -> None:
    async def test() -> None:
        pool = pool_of(5)
        for name in "abc":
            client = await pool.lend(key(name), None, None)
            client.used_at = asyncio.get_running_loop().time()
        pool.give_back(key("a"))
        pool.give_back(key("b"))
        asked = pool.idle_conversations()
        pool.follow({key("b"): (asked[key("b")], 1e-9)}, asked)
        assert pool.evictions == {"forgotten": 1} and set(pool.idle_conversations()) == {key("b")}
        watching = asyncio.create_task(pool.watch())
        try:

            async def nobody_is_idle() -> bool:
                return not pool.idle_conversations()

            await eventually_async(nobody_is_idle, 5)
        finally:
            watching.cancel()
        assert pool.evictions == {"forgotten": 1, "idle": 1} and pool.status()["clients"] == 1

    run(test)


def test_a_client_that_is_going_goes_even_if_whoever_waits_for_that_is_gone() -> None:
    class Slow(Client):
        async def close(self) -> None:
            await self.may_go.wait()
            await super().close()
            self.is_gone = True

        may_go = asyncio.Event()
        is_gone = False

    async def run() -> bool:
        pool = pool_of(2, make=Slow)
        client: Any = await pool.lend(key("a"), None, None)
        waiting = asyncio.create_task(pool.discard(key("a"), "reset"))
        await settled()
        waiting.cancel()
        await settled()
        client.may_go.set()
        await settled()
        return bool(client.is_gone) and pool.status()["closing"] == 0

    assert asyncio.run(run())
