"""The worker runtime while its database and its broker go away and come back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import pytest

from cli.local.postgres import Postgres
from shared.database import is_transient
from shared.errors import BusError
from tests.conftest import migrate
from tests.integration.bus.broker import Broker
from tests.integration.bus.clients import Clients, until
from tests.integration.bus.workshop import Workshop
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def own_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The server behind `database`."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    migrate(server.url)
    yield server
    server.kill()


@pytest.fixture
def database(own_database: Postgres) -> Postgres:
    """A database server of these tests' own, to be stopped and killed; it runs when a test begins."""
    own_database.start()
    return own_database


@pytest.fixture
async def workshop(broker: Broker, database: Postgres, clients: Clients) -> AsyncIterator[Workshop]:
    """On the servers that may be broken; emptied after each test."""
    made = Workshop(broker.url, database.url, clients)
    await made.prepare()
    await made.sql("truncate effects, handled_messages, sessions cascade")
    await made.open("s1", "s2", "s3")
    yield made


class Load:
    """Sends commands as an ingress does: until each is confirmed, under the same id."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self.sent: list[str] = []

    async def run(self) -> None:
        while True:
            at = len(self.sent)
            command = self._workshop.memory(f"s{at % 3 + 1}", at) if at % 4 else self._workshop.insight(at)
            while True:
                with suppress(BusError):
                    await self._workshop.send(command)
                    break
                await self._workshop.publisher.wait_connected()
                await asyncio.sleep(0.01)
            self.sent.append(command[0])


async def under_load(workshop: Workshop, clients: Clients, *faults: Callable[[], Awaitable[object]]) -> list[str]:
    """Send without a pause while one fault after the other happens; returns the ids of what was confirmed."""
    load = Load(workshop)
    sending = clients.spawn(load.run())
    for fault in faults:
        before = len(load.sent)
        await until(lambda: len(load.sent) > before + 150, 60)  # noqa: B023 (awaited here)
        await fault()
    before = len(load.sent)
    await until(lambda: len(load.sent) > before + 150, 60)
    sending.cancel()
    return load.sent


async def once_each(workshop: Workshop, ids: list[str]) -> None:
    """Each of these commands had one effect and one event, and none is among the dead letters."""
    events = await workshop.all_told(ids, 60)
    effects = await workshop.effects()
    assert {message: count for message, count in effects.items() if count != 1} == {}
    assert set(ids) <= set(effects)
    ours = [event for event in events if event["correlation_id"] in set(effects)]
    assert len(ours) == len({event["correlation_id"] for event in ours})
    assert await workshop.queued("switchyard.dead-letters") == 0
    for session in ("s1", "s2", "s3"):
        numbers = sorted(event["session_seq"] for event in ours if event.get("session_id") == session)
        assert numbers == list(range(1, len(numbers) + 1))


async def test_a_restarted_database_costs_nothing(workshop: Workshop, database: Postgres, clients: Clients) -> None:
    await workshop.worker()

    async def restart() -> None:
        await asyncio.to_thread(database.stop)
        database.start()

    ids = await under_load(workshop, clients, restart, restart)
    await once_each(workshop, ids)


async def test_a_killed_database_costs_nothing(workshop: Workshop, database: Postgres, clients: Clients) -> None:
    for _ in range(2):
        await workshop.worker()

    async def kill() -> None:
        await asyncio.to_thread(database.kill)
        database.start()

    ids = await under_load(workshop, clients, kill, kill)
    await once_each(workshop, ids)


async def test_terminated_connections_cost_nothing(workshop: Workshop, clients: Clients) -> None:
    await workshop.worker()

    async def terminate() -> None:
        with suppress(Exception):  # it terminates others first, and may not live to tell
            await workshop.sql("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")

    ids = await under_load(workshop, clients, terminate, terminate, terminate)
    await once_each(workshop, ids)


async def test_a_killed_broker_costs_nothing(workshop: Workshop, broker: Broker, clients: Clients) -> None:
    for _ in range(2):
        await workshop.worker()

    async def crash() -> None:
        await broker.crash()
        await broker.start_again()

    ids = await under_load(workshop, clients, crash, crash)
    await once_each(workshop, ids)


async def test_a_stopped_and_started_worker_costs_nothing(workshop: Workshop, clients: Clients) -> None:
    running = [await workshop.worker(), await workshop.worker()]

    async def replace() -> None:
        running.append(await workshop.worker())
        await workshop.stop(running.pop(0))

    ids = await under_load(workshop, clients, replace, replace, replace)
    await once_each(workshop, ids)


async def test_a_worker_waits_for_a_database_that_is_away_and_for_no_session_meanwhile(
    workshop: Workshop, database: Postgres
) -> None:
    """A command does not lose the patience it has for its session while nobody can look for it."""
    await workshop.sql("delete from sessions where id = 's1'")
    await asyncio.to_thread(database.stop)
    await workshop.worker()
    waiting = asyncio.ensure_future(workshop.ask(workshop.memory("s1"), wait=60))
    await asyncio.wait([waiting], timeout=1.5)
    assert not waiting.done()

    database.start()
    await workshop.sql("select 1") if await _reachable(workshop) else None
    await workshop.open("s1")
    assert (await waiting)["ok"]


async def _reachable(workshop: Workshop) -> bool:
    for _ in range(10):
        try:
            await workshop.sql("select 1")
        except Exception as error:  # noqa: BLE001 (what the pool still held)
            assert is_transient(error), error
        else:
            return True
    return False


async def test_work_goes_on_soon_after_the_database_is_back(workshop: Workshop, database: Postgres) -> None:
    await workshop.worker()
    await asyncio.gather(*(workshop.ask(workshop.memory(f"s{n % 3 + 1}", n)) for n in range(30)))
    await asyncio.to_thread(database.kill)
    waiting = asyncio.ensure_future(workshop.ask(workshop.memory("s1"), wait=60))
    await asyncio.wait([waiting], timeout=1)
    database.start()
    back = asyncio.get_running_loop().time()
    assert (await waiting)["ok"]
    assert asyncio.get_running_loop().time() - back < 5


async def test_a_worker_can_be_stopped_while_everything_is_away(
    workshop: Workshop, broker: Broker, database: Postgres
) -> None:
    worker = await workshop.worker()
    await asyncio.to_thread(database.stop)
    await broker.crash()
    await until(lambda: not worker.connected)
    await workshop.stop(worker)


async def test_a_worker_can_be_ended_while_the_broker_takes_no_events(workshop: Workshop, broker: Broker) -> None:
    worker = await workshop.worker()
    workshop.go_on.clear()
    await workshop.send(workshop.insight())
    broker.alarm()
    try:
        workshop.go_on.set()
        await eventually_async(workshop.effects)
        worker.stop()
        running = workshop.running[worker]
        await asyncio.wait([running], timeout=0.2)
        assert not running.done()
        # What `run_worker` does once the time to finish is over.
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()
    finally:
        broker.clear()
