"""The recorder between a real stream and a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from pamqp import commands as amqp
from sqlalchemy import text

from services.session_worker.app import publish_event
from services.session_worker.recorder import Recorder
from shared.bus.connection import Connection
from shared.bus.publisher import Publisher
from shared.bus.topology import EVENT_LOG, EVENTS
from shared.database import Database
from shared.messages import JsonText, new_id
from shared.messages.live import AgentPresence, PresenceStatus
from shared.messages.session import LlmConversationInsight
from tests.waiting import eventually_async

PRESENCES = "select agent_id, body::text as body from presences"


class Stream:
    """A publisher of events, and the database they should end in."""

    def __init__(self, amqp_url: str, database_url: str) -> None:
        self.url = amqp_url
        self.database_url = database_url
        self.publisher = Publisher(amqp_url, name="tests")
        self.database = Database(database_url, name="tests")

    async def publish(self, *bodies: bytes, routing_key: str = "session.s1.insight") -> None:
        await asyncio.gather(
            *(self.publisher.send(EVENTS, routing_key, body, message_id=f"amqp-{new_id()}") for body in bodies)
        )

    @asynccontextmanager
    async def recording(self, name: str = "recorder", url: str | None = None) -> AsyncIterator[asyncio.Task[None]]:
        database = Database(url or self.database_url, name=name, size=1)

        async def announce(event) -> None:
            await publish_event(self.publisher, event)

        recorder = Recorder(url=self.url, name=name, database=database, publish=announce)
        task = asyncio.ensure_future(recorder.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await database.close()

    async def rows(
        self, statement: str = "select cursor, message_id, body::text as body from events order by cursor"
    ) -> list:
        async with self.database.reading() as tx:
            return list(await tx.execute(text(statement)))

    async def recorded(self, count: int, deadline: float = 30) -> list:
        async def enough() -> list | None:
            rows = await self.rows()
            return rows if len(rows) >= count else None

        rows = await eventually_async(enough, deadline, because=f"{count} events recorded")
        assert len(rows) == count
        return rows

    async def log(self):
        (row,) = await self.rows("select * from event_log")
        return row


@pytest.fixture
def with_stream(fresh_amqp_url: str, database_url: str) -> Callable[[Callable[[Stream], Awaitable[None]]], None]:
    """Runs a test's coroutine function with a fresh stream and a fresh database."""

    def run(test: Callable[[Stream], Awaitable[None]]) -> None:
        async def main() -> None:
            stream = Stream(fresh_amqp_url, database_url)
            publishing = asyncio.ensure_future(stream.publisher.run())
            await stream.publisher.wait_connected()
            try:
                await test(stream)
            finally:
                publishing.cancel()
                await asyncio.gather(publishing, return_exceptions=True)
                await stream.database.close()

        asyncio.run(main())

    return run


def insights(count: int, first: int = 0) -> list[bytes]:
    return [
        LlmConversationInsight(session_id="s1", session_seq=n + 1, insight=JsonText(b"1e%d" % n)).encoded()
        for n in range(first, first + count)
    ]


def test_events_are_recorded_once_in_order_with_their_own_words(with_stream):
    async def test(stream: Stream) -> None:
        bodies = insights(250)
        async with stream.recording():
            await stream.publish(*bodies)
            rows = await stream.recorded(250)
        assert [row.body.encode() for row in rows] == bodies
        assert [row.cursor for row in rows] == list(range(1, 251))
        assert (await stream.log()).checkpoint == 250

    with_stream(test)


def test_a_single_event_is_recorded_within_a_second(with_stream):
    async def test(stream: Stream) -> None:
        async with stream.recording():
            await stream.publish(*insights(1))
            await stream.recorded(1)
            started = asyncio.get_running_loop().time()
            await stream.publish(*insights(1, first=1))
            await stream.recorded(2)
            assert asyncio.get_running_loop().time() - started < 1.5

    with_stream(test)


def test_a_restarted_recorder_goes_on_where_the_last_one_was(with_stream):
    async def test(stream: Stream) -> None:
        await stream.publish(*insights(10))
        async with stream.recording():
            await stream.recorded(10)
        await stream.publish(*insights(10, first=10))
        for _ in range(2):
            async with stream.recording():
                await stream.recorded(20)
        assert (await stream.log()).epoch

    with_stream(test)


def test_recorders_that_are_cut_off_from_the_database_again_and_again_lose_and_double_nothing(with_stream):
    async def test(stream: Stream) -> None:
        cut = text("""
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name like 'switchyard recorder%'
        """)
        async with stream.recording("recorder one"), stream.recording("recorder two"):
            for start in range(0, 1000, 100):
                await stream.publish(*insights(100, first=start))
                async with stream.database.transaction() as tx:
                    await tx.execute(cut)
            rows = await stream.recorded(1000, 60)
        assert [row.cursor for row in rows] == list(range(1, 1001))

    with_stream(test)


def test_of_two_recorders_one_goes_on_when_the_other_ends(with_stream):
    async def test(stream: Stream) -> None:
        async with stream.recording("one"):
            async with stream.recording("two"):
                await stream.publish(*insights(300))
                await stream.recorded(300)
            await stream.publish(*insights(300, first=300))
            rows = await stream.recorded(600)
        assert [row.cursor for row in rows] == list(range(1, 601))

    with_stream(test)


def test_what_is_no_event_stops_nothing(with_stream):
    async def test(stream: Stream) -> None:
        strange = [
            b"",
            b"not json",
            b"[]",
            b"\xff",
            b'{"a":"\\u0000"}',
            b"{" * 10_000,
            b'{"a":' * 3000 + b"1" + b"}" * 3000,
        ]
        half = [b'{"no":"timestamp","n":1e5}', b'{"message_id":"m1","timestamp":"yesterday","type":"odd"}']
        good = insights(2)
        nul = good[0].replace(b"1e0", b'"\\u0000"').replace(b'"message_id":"', b'"message_id":"x')
        everything = [good[0], *strange, nul, *half, good[1]]
        async with stream.recording():
            await stream.publish(*everything)
            rows = await stream.recorded(4)
        assert [row.body.encode() for row in rows] == [good[0], *half, good[1]]
        assert rows[1].message_id.startswith("amqp-")
        assert rows[2].message_id == "m1"
        assert (await stream.log()).checkpoint == len(everything)

    with_stream(test)


def test_a_copy_of_an_event_is_recorded_once_and_passed_over(with_stream):
    async def test(stream: Stream) -> None:
        one, two = insights(2)
        async with stream.recording():
            await stream.publish(one, one, two, one)
            rows = await stream.recorded(2)
            await eventually_async(lambda: _checkpoint_is(stream, 4))
        assert [row.cursor for row in rows] == [1, 3]

    with_stream(test)


def test_an_event_of_another_century_is_recorded(with_stream):
    async def test(stream: Stream) -> None:
        old = orjson.loads(insights(1)[0]) | {"timestamp": "1815-12-10T00:00:00Z"}
        async with stream.recording():
            await stream.publish(orjson.dumps(old), *insights(1))
            await stream.recorded(2)

    with_stream(test)


async def _checkpoint_is(stream: Stream, cursor: int) -> bool:
    return (await stream.log()).checkpoint == cursor


async def _recreate_stream(stream: Stream) -> None:
    async with await Connection.open(stream.url, name="tests") as connection:
        await connection.call(amqp.Queue.Delete(queue=EVENT_LOG))
        await connection.call(amqp.Queue.Declare(queue=EVENT_LOG, durable=True, arguments={"x-queue-type": "stream"}))
        await connection.call(amqp.Queue.Bind(queue=EVENT_LOG, exchange=EVENTS, routing_key="#"))


@pytest.mark.parametrize("after", [3, 40], ids=["shorter than before", "longer than before"])
def test_a_stream_made_anew_while_nobody_recorded_begins_a_new_epoch_after_the_old_cursors(with_stream, after):
    async def test(stream: Stream) -> None:
        async with stream.recording():
            await stream.publish(*insights(20))
            await stream.recorded(20)
        before = await stream.log()
        await _recreate_stream(stream)
        await stream.publish(*insights(after, first=20))
        async with stream.recording():
            rows = await stream.recorded(20 + after + 1)
        log = await stream.log()
        assert log.epoch != before.epoch
        assert (log.base, log.announced) == (1_000_021, True)
        assert [row.cursor for row in rows] == [*range(1, 21), *range(1_000_021, 1_000_022 + after)]
        told = [orjson.loads(row.body) for row in rows if "event_log_recreated" in row.body]
        assert [(event["epoch"], event["base"]) for event in told] == [(log.epoch, 1_000_021)]

    with_stream(test)


def test_a_stream_made_anew_under_a_running_recorder_begins_a_new_epoch(with_stream):
    async def test(stream: Stream) -> None:
        async with stream.recording("one"), stream.recording("two"):
            await stream.publish(*insights(20))
            await stream.recorded(20)
            await _recreate_stream(stream)
            await stream.publish(*insights(5, first=20))
            rows = await stream.recorded(26, 40)
        assert [row.cursor for row in rows] == [*range(1, 21), *range(1_000_021, 1_000_027)]
        assert (await stream.log()).base == 1_000_021

    with_stream(test)


def test_an_epoch_that_could_not_be_told_of_is_told_of_later(with_stream):
    async def test(stream: Stream) -> None:
        async with stream.database.transaction() as tx:
            await tx.execute(text("update event_log set announced = false"))
        async with stream.recording():
            (row,) = await stream.recorded(1)
            await eventually_async(lambda: _announced(stream))
        assert orjson.loads(row.body)["type"] == "event_log_recreated"

    with_stream(test)


async def _announced(stream: Stream) -> bool:
    return (await stream.log()).announced


def test_the_database_may_be_away_from_the_start_and_in_between(with_stream, make_postgres, database_url):
    server = make_postgres()
    server.start()
    server.stop()

    async def test(stream: Stream) -> None:
        stream.database_url = server.url
        async with stream.recording(url=server.url):
            await stream.publish(*insights(50))
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(_migrate, server.url)
            own = Database(server.url, name="tests")
            stream.database, lent = own, stream.database
            await stream.recorded(50)
            await asyncio.to_thread(server.kill)
            await stream.publish(*insights(50, first=50))
            await asyncio.to_thread(server.start)
            await own.close()
            stream.database = Database(server.url, name="tests")
            rows = await stream.recorded(100)
            await stream.database.close()
            stream.database = lent
        assert [row.cursor for row in rows] == list(range(1, 101))

    with_stream(test)


def _migrate(url: str) -> None:
    from tests.conftest import migrate

    migrate(url)


def test_who_is_there_by_the_last_event_of_each_agent_is_kept(
    with_stream: Callable[[Callable[[Stream], Awaitable[None]]], None],
) -> None:
    def told(agent_id: str, status: PresenceStatus) -> bytes:
        return AgentPresence(
            agent_id=agent_id, status=status, current_context="", active_sidebars=[], specialties=[]
        ).encoded()

    async def check(stream: Stream) -> None:
        there = told("bob", "working")
        bodies = [told("ana", "online"), told("bob", "online"), there, told("ana", "offline"), told("cid", "offline")]
        async with stream.recording():
            for body in bodies:
                await stream.publish(body, routing_key="agent.x.presence")
            await stream.recorded(len(bodies))
            assert [(row.agent_id, row.body.encode()) for row in await stream.rows(PRESENCES)] == [("bob", there)]
            await stream.publish(told("bob", "offline"), routing_key="agent.x.presence")
            await stream.recorded(len(bodies) + 1)
            assert await stream.rows(PRESENCES) == []

    with_stream(check)
