"""The dead-letter queue drained, dead letters listed and redriven, with a real broker and a real database."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from pamqp import commands as amqp
from sqlalchemy import text

from services.session_worker import store
from services.session_worker.app import publish_event
from services.session_worker.dead_letter_queue import DeadLetterQueue
from services.session_worker.redrive import redrive, redrive_some
from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.bus.tail import StreamEvent, Tail
from shared.bus.topology import COMMANDS, DEAD_LETTERS
from shared.database import Database
from shared.errors import BusError, Unavailable
from shared.messages import decode_command, encode_command, new_id, spec_of
from tests.conftest import require_rabbitmq
from tests.integration.bus.broker import Broker
from tests.waiting import eventually_async


class Bus:
    """A publisher, the events seen, and a database."""

    def __init__(self, amqp_url: str, database_url: str) -> None:
        self.url = amqp_url
        self.publisher = Publisher(amqp_url, name="tests")
        self.rpc = Rpc(self.publisher)
        self.database = Database(database_url, name="tests")
        self.events: list[dict[str, Any]] = []

    def on_events(self, events: list[StreamEvent]) -> None:
        self.events += [orjson.loads(event.body) for event in events]

    @asynccontextmanager
    async def draining(self, database: Database | None = None) -> AsyncIterator[None]:
        queue = DeadLetterQueue(
            url=self.url,
            database=database or self.database,
            publisher=self.publisher,
            publish=lambda event: publish_event(self.publisher, event),
        )
        async with background(queue.run()):
            yield

    async def publish(self, exchange: str, routing_key: str, body: bytes, **more: Any) -> None:
        await self.publisher.publish(exchange, routing_key, body, **{"message_id": new_id(), **more})

    async def letters(self, count: int) -> list[Any]:
        async def enough() -> list[Any] | None:
            async with self.database.reading() as tx:
                found = await store.dead_letters.list_letters(tx, None, 1000, 10_000)
            return found if len(found) >= count else None

        found = await eventually_async(enough, 30, because=f"{count} dead letters kept")
        assert len(found) == count
        return list(reversed(found))

    async def in_queue(self, queue: str) -> int:
        async with await Connection.open(self.url, name="tests") as connection:
            return (await connection.call(amqp.Queue.Declare(queue=queue, passive=True))).message_count

    async def empty(self, queue: str) -> None:
        async def is_empty() -> bool:
            return await self.in_queue(queue) == 0

        await eventually_async(is_empty, 30, because=f"{queue} empty")

    async def take(self, queue: str, count: int) -> list[Delivery]:
        """Messages of a queue, acknowledged."""
        taken: list[Delivery] = []
        async with await Connection.open(self.url, name="tests") as connection:

            def on_deliveries(deliveries: list[Delivery]) -> None:
                taken.extend(deliveries)
                connection.ack(deliveries[-1].tag, multiple=True)

            await connection.consume(queue, on_deliveries, prefetch=100)

            async def enough() -> bool:
                return len(taken) >= count

            await eventually_async(enough, 30)
        return taken


@asynccontextmanager
async def background(*work: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def with_bus(fresh_amqp_url: str, database_url: str) -> Callable[[Callable[[Bus], Awaitable[None]]], None]:
    """Runs a test's coroutine function with a fresh virtual host and a fresh database."""

    def run(test: Callable[[Bus], Awaitable[None]]) -> None:
        async def main() -> None:
            bus = Bus(fresh_amqp_url, database_url)
            async with background(bus.publisher.run()):
                await bus.publisher.wait_connected()
                tail = Tail(fresh_amqp_url, name="tests", on_events=bus.on_events, start="first")
                async with background(tail.run()):
                    await test(bus)
            await bus.database.close()

        asyncio.run(main())

    return run


GIVEN_UP = {
    "x-reason": "the body is not JSON",
    "x-attempt": 2,
    "x-original-exchange": COMMANDS,
    "x-original-routing-key": "memory.store_memory",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


def test_a_given_up_message_is_kept_with_its_reason_and_told_of(with_bus):
    async def test(bus: Bus) -> None:
        async with bus.draining():
            await bus.publish(DEAD_LETTERS, "memory.store_memory", b"\xff\x00{", message_id="m1", headers=GIVEN_UP)
            (letter,) = await bus.letters(1)
            await bus.empty(DEAD_LETTERS)
            (event,) = await eventually_async(lambda: _value(bus.events), 10)
        assert (letter.message_id, letter.body, letter.reason) == ("m1", b"\xff\x00{", "the body is not JSON")
        assert (letter.exchange, letter.routing_key, letter.attempts) == (COMMANDS, "memory.store_memory", 2)
        assert event["type"] == "dead_letter_added"
        assert event["dead_letter"]["dead_letter_id"] == letter.id
        assert event["dead_letter"]["body"] == "��{"

    with_bus(test)


async def _value(value: Any) -> Any:
    return value


def test_who_asked_to_be_called_back_is_told_that_the_command_was_given_up(with_bus):
    async def test(bus: Bus) -> None:
        url = "https://hooks.example.com/"
        body = encode_command("store_memory", {}, message_id="m1", sender_agent_id="ada", callback_url=url)
        async with bus.draining():
            await bus.publish(DEAD_LETTERS, "memory.store_memory", body, message_id="m1", headers=GIVEN_UP)
            (letter,) = await bus.letters(1)
            (delivery,) = await bus.take("task.commands", 1)
        owed = decode_command(delivery.body)
        assert (delivery.routing_key, delivery.message_id) == ("task.send_callback", owed.message_id)
        assert (owed.data.url, owed.data.message_id, owed.data.command) == (url, "m1", "store_memory")
        assert owed.data.error.value()["message"] == "given up: the body is not JSON"
        assert owed.data.error.value()["details"] == {"dead_letter_id": letter.id}

    with_bus(test)


def test_a_message_the_broker_gave_up_tells_the_brokers_reason(with_bus):
    async def test(bus: Bus) -> None:
        await bus.publish(COMMANDS, "memory.store_memory", b"{}", message_id="m1")
        async with await Connection.open(bus.url, name="tests") as connection:

            def reject(deliveries: list[Delivery]) -> None:
                for delivery in deliveries:
                    connection._send(amqp.Basic.Reject(delivery_tag=delivery.tag, requeue=False), channel=1)

            await connection.consume("memory.commands", reject, prefetch=1)
            async with bus.draining():
                (letter,) = await bus.letters(1)
        assert letter.reason == "rejected by the consumer of memory.commands"
        assert (letter.exchange, letter.routing_key) == (COMMANDS, "memory.store_memory")

    with_bus(test)


def test_the_sender_of_an_unknown_command_is_told_and_the_command_is_kept(with_bus):
    async def test(bus: Bus) -> None:
        async with bus.draining():
            unknown = replace(spec_of("store_memory"), name="no_such")
            reply = orjson.loads(await bus.rpc.request(unknown, b"{}", message_id="m1", wait=20))
            (letter,) = await bus.letters(1)
        assert reply["ok"] is False
        assert reply["error"]["code"] == "invalid"
        assert "no_such" in reply["error"]["message"]
        assert letter.reason.startswith("unroutable")
        assert letter.routing_key == "memory.no_such"

    with_bus(test)


def test_the_strangest_messages_are_kept(with_bus):
    async def test(bus: Bus) -> None:
        bodies = [b"", b"\x00" * 50, b"\xff\xfe", b"{" * 50_000, b"x" * 3_000_000, gzip.compress(b"z" * 100_000)]
        headers = {"x-reason": "odd \x00", "nested": {"a": [1, {"b": True}]}, "big": 2**62}
        async with bus.draining():
            for body in bodies:
                await bus.publish(
                    DEAD_LETTERS, "a.b", body, headers=headers, content_encoding="gzip" if body[:1] == b"\x1f" else ""
                )
            letters = await bus.letters(len(bodies))
            await bus.empty(DEAD_LETTERS)
            await eventually_async(lambda: _value(len(bus.events) == len(bodies)), 20)
        assert sorted(letter.body[:10_000] for letter in letters) == sorted(body[:10_000] for body in bodies)
        assert all(len(event["dead_letter"]["body"]) <= 10_000 for event in bus.events)
        assert "z" * 10_000 in [event["dead_letter"]["body"] for event in bus.events]

    with_bus(test)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A node of the test's own, which may be killed."""
    require_rabbitmq()
    node = Broker(tmp_path / "rabbitmq")
    node.start()
    yield node
    node.kill()


def test_letters_are_drained_again_after_the_broker_was_killed(broker, database_url):

    async def main() -> None:
        bus = Bus(broker.url, database_url)
        async with background(bus.publisher.run()):
            await bus.publisher.wait_connected()
            async with bus.draining():
                await bus.publish(DEAD_LETTERS, "a.b", b"before", headers=GIVEN_UP)
                await bus.letters(1)
                await broker.crash()
                await broker.start_again()

                async def published() -> bool:
                    try:
                        await bus.publish(DEAD_LETTERS, "a.b", b"after", headers=GIVEN_UP, message_id="m2")
                    except BusError:
                        return False
                    return True

                await eventually_async(published, 30, interval=0.2)
                await bus.letters(2)
        await bus.database.close()

    asyncio.run(main())


class FailingDatabase(Database):
    """A database that is away for the first few transactions."""

    failures = 3

    @asynccontextmanager
    async def transaction(self):
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        async with super().transaction() as tx:
            yield tx


def test_a_letter_waits_in_the_queue_while_the_database_is_away(with_bus, database_url, monkeypatch):
    monkeypatch.setattr("services.session_worker.dead_letter_queue.RETRY_SECONDS", 0.05)

    async def test(bus: Bus) -> None:
        database = FailingDatabase(database_url, name="failing")
        async with bus.draining(database):
            await bus.publish(DEAD_LETTERS, "a.b", b"1")
            await bus.publish(DEAD_LETTERS, "a.b", b"2")
            await bus.letters(2)
            await bus.empty(DEAD_LETTERS)
        await database.close()
        assert database.failures == 0

    with_bus(test)


def test_a_letter_delivered_again_after_a_crash_is_kept_once_and_its_event_is_the_same(with_bus):
    async def test(bus: Bus) -> None:
        async def crash(event) -> None:
            await publish_event(bus.publisher, event)
            raise asyncio.CancelledError  # between commit and acknowledgement

        dying = DeadLetterQueue(url=bus.url, database=bus.database, publisher=bus.publisher, publish=crash)
        await bus.publish(DEAD_LETTERS, "a.b", b"1", headers=GIVEN_UP)
        async with background(dying.run()):
            await bus.letters(1)
        async with bus.draining():
            await bus.empty(DEAD_LETTERS)
            await eventually_async(lambda: _value(len(bus.events) >= 2), 20)
            await bus.letters(1)
        assert len({event["message_id"] for event in bus.events}) == 1
        assert bus.events[0] == bus.events[1]

    with_bus(test)


async def ask(bus: Bus, ids: list[int] | None = None) -> int:
    async with bus.database.transaction() as tx:
        return await store.dead_letters.ask_redrive(tx, ids)


def test_redriven_letters_go_where_they_were_meant_to_go_without_their_history(with_bus):
    async def test(bus: Bus) -> None:
        command = encode_command("store_memory", {"session_id": "s1"}, message_id="m1", sender_agent_id="ada")
        async with bus.draining():
            await bus.publish(DEAD_LETTERS, "x.y", command, message_id="m1", headers=GIVEN_UP)
            (letter,) = await bus.letters(1)
        assert await ask(bus) == 1
        assert await ask(bus) == 0
        async with background(redrive(bus.database, bus.publisher)):
            (delivery,) = await bus.take("memory.commands", 1)

            async def noted() -> bool:
                return (await bus.letters(1))[0].redriven is not None

            await eventually_async(noted, 10)
        assert (delivery.exchange, delivery.routing_key) == (COMMANDS, "memory.store_memory")
        assert (delivery.body, delivery.message_id) == (command, "m1")
        assert delivery.headers == {"traceparent": GIVEN_UP["traceparent"], "x-redriven-from": letter.id}
        assert await ask(bus, [letter.id]) == 0

    with_bus(test)


def test_a_redriven_letter_that_dies_again_is_another_letter(with_bus):
    async def test(bus: Bus) -> None:
        async with bus.draining():
            await bus.publish(COMMANDS, "memory.no_such", b"{}", message_id="m1")
            (first,) = await bus.letters(1)
            await ask(bus, [first.id])
            assert await redrive_some(bus.database, bus.publisher) == 1
            letters = await bus.letters(2)
        assert [letter.redriven is not None for letter in letters] == [True, False]
        assert letters[1].headers["x-redriven-from"] == first.id

    with_bus(test)


def test_a_letter_whose_publishing_failed_is_due_again_and_one_that_was_published_is_not(with_bus):
    async def test(bus: Bus) -> None:
        async with bus.draining():
            for n in range(2):
                await bus.publish(DEAD_LETTERS, "x.y", b"%d" % n, message_id=f"m{n}", headers=GIVEN_UP)
            letters = await bus.letters(2)
        await ask(bus)

        class Away(Publisher):
            async def publish(self, *where: Any, message_id: str, **properties: Any) -> None:
                if message_id == letters[1].message_id:
                    raise Unavailable("away")

        with pytest.raises(Unavailable):
            await redrive_some(bus.database, Away(bus.url, name="away"))
        assert [letter.redriven is None for letter in await bus.letters(2)] == [False, True]
        # It is claimed for a minute; then whoever comes publishes it.
        assert await redrive_some(bus.database, bus.publisher) == 0
        async with bus.database.transaction() as tx:
            await tx.execute(text("update dead_letters set redrive_due = now() where redrive_due is not null"))
        assert await redrive_some(bus.database, bus.publisher) == 1
        assert all(letter.redriven for letter in await bus.letters(2))

    with_bus(test)


def test_a_letter_of_an_exchange_that_is_not_ours_goes_to_the_commands(with_bus):
    async def test(bus: Bus) -> None:
        foreign = {**GIVEN_UP, "x-original-exchange": "no.such.exchange"}
        async with bus.draining():
            await bus.publish(DEAD_LETTERS, "x.y", b"{}", headers=foreign)
            await bus.letters(1)
        await ask(bus)
        await redrive_some(bus.database, bus.publisher)
        (delivery,) = await bus.take("memory.commands", 1)
        assert delivery.exchange == COMMANDS

    with_bus(test)


def test_a_letter_no_queue_can_take_is_not_tried_for_ever(with_bus):
    async def test(bus: Bus) -> None:
        gone = {**GIVEN_UP, "x-original-exchange": "", "x-original-routing-key": "no.such.queue"}
        async with bus.draining():
            await bus.publish(DEAD_LETTERS, "x.y", b"{}", headers=gone)
            await bus.letters(1)
        await ask(bus)
        assert await redrive_some(bus.database, bus.publisher) == 1
        assert await redrive_some(bus.database, bus.publisher) == 0
        assert (await bus.letters(1))[0].redriven is None
        assert await ask(bus) == 1

    with_bus(test)


def test_several_redrivers_publish_each_letter_once(with_bus):
    async def test(bus: Bus) -> None:
        async with bus.draining():
            for n in range(40):
                await bus.publish(DEAD_LETTERS, "x.y", b"%d" % n, message_id=f"m{n}", headers=GIVEN_UP)
            await bus.letters(40)
        await ask(bus)
        async with background(*(redrive(bus.database, bus.publisher) for _ in range(3))):
            deliveries = await bus.take("memory.commands", 40)
        assert len({delivery.message_id for delivery in deliveries}) == len(deliveries) == 40

    with_bus(test)
