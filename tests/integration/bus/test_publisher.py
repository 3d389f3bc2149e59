"""The publisher: what was confirmed is kept, and what is not kept is said, in time."""

import asyncio
import time

import psutil
import pytest
from pamqp import commands as amqp

from shared.bus.connection import Connection
from shared.bus.publisher import Publisher
from shared.bus.topology import COMMANDS, EVENTS
from shared.errors import Unavailable, Unconfirmed, Unroutable
from tests.integration.bus.broker import Broker
from tests.integration.bus.clients import Clients, until

pytestmark = pytest.mark.anyio
KEY = "memory.store_memory"


async def outcomes(futures: list[asyncio.Future[None]]) -> list[type | None]:
    """How each publish ended: None, or the class of its error."""
    ended = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 30)
    return [None if each is None else type(each) for each in ended]


async def test_everything_confirmed_is_in_the_queue(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    sent = [publisher.send(COMMANDS, KEY, b"%d" % n, message_id=str(n)) for n in range(2000)]
    assert await outcomes(sent) == [None] * 2000

    found = await clients.letters(fresh_amqp_url, "memory.commands")
    await until(lambda: len(found) >= 100)
    assert [each.body for each in found[:100]] == [b"%d" % n for n in range(100)]


async def test_bodies_over_a_frame_and_properties_arrive_whole(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    body = bytes(range(256)) * 2000
    await publisher.publish(
        COMMANDS, KEY, body, message_id="é" * 100, headers={"traceparent": "00-a", "n": 2**40},
        reply_to="somebody", correlation_id="c", content_encoding="gzip",
    )  # fmt: skip
    found = await clients.letters(fresh_amqp_url, "memory.commands")
    (delivery,) = await until(lambda: found)
    assert delivery.body == body
    assert delivery.headers == {"traceparent": "00-a", "n": 2**40}
    assert (delivery.message_id, delivery.reply_to, delivery.correlation_id, delivery.content_encoding) == (
        "é" * 100,
        "somebody",
        "c",
        "gzip",
    )


async def test_an_unroutable_message_is_an_error_and_its_neighbours_are_not(
    fresh_amqp_url: str, clients: Clients
) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    sent = [
        publisher.send("", "no.such.queue" if n == 25 else "memory.commands", b"x", message_id=str(n))
        for n in range(50)
    ]
    assert await outcomes(sent) == [Unroutable if n == 25 else None for n in range(50)]


async def test_an_unroutable_copy_does_not_fail_its_namesake(fresh_amqp_url: str, clients: Clients) -> None:
    """Two attempts under one message id may be under way at once."""
    publisher = await clients.publisher(fresh_amqp_url)
    sent = [
        publisher.send("", queue, b"x", message_id="m1")
        for queue in ("memory.commands", "no.such.queue", "task.commands", "no.such.queue")
    ]
    assert await outcomes(sent) == [None, Unroutable, None, Unroutable]


async def test_a_missing_exchange_fails_what_was_under_way_and_the_publisher_recovers(
    fresh_amqp_url: str, clients: Clients
) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    with pytest.raises(Unconfirmed, match="NOT_FOUND"):
        await publisher.publish("no.such.exchange", "k", b"x", message_id="m1")
    await until(lambda: publisher.connected)
    await publisher.publish(COMMANDS, KEY, b"x", message_id="m2")


async def test_a_full_queue_refuses_and_what_it_confirmed_it_has(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    connection = await clients.connection(fresh_amqp_url)
    await connection.call(
        amqp.Queue.Declare(
            queue="small", durable=True,
            arguments={"x-queue-type": "quorum", "x-max-length": 5, "x-overflow": "reject-publish"},
        )
    )  # fmt: skip
    ended = []
    for n in range(30):
        ended += await outcomes([publisher.send("", "small", b"x", message_id=str(n))])
    assert set(ended) == {None, Unavailable}
    found = await clients.letters(fresh_amqp_url, "small")
    await until(lambda: len(found) >= ended.count(None))
    assert [int(each.message_id) for each in found] == [n for n, error in enumerate(ended) if error is None]


@pytest.mark.parametrize("wrong", [{"message_id": "x" * 256}, {"message_id": "m", "headers": {"h": "x" * 200_000}}])
async def test_what_amqp_can_not_carry_is_an_error_of_its_own_caller_only(
    fresh_amqp_url: str, clients: Clients, wrong: dict[str, object]
) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    other = publisher.send(COMMANDS, KEY, b"x", message_id="m1")
    with pytest.raises(ValueError, match=r"255 bytes|headers take"):
        await publisher.publish(COMMANDS, KEY, b"x", **wrong)  # type: ignore[arg-type]
    assert await outcomes([other]) == [None]


async def test_a_broker_that_is_away_is_said_at_once_and_found_again(broker: Broker, clients: Clients) -> None:
    publisher = await clients.publisher(broker.url)
    broker.stop()
    await until(lambda: not publisher.connected)

    began = time.monotonic()
    with pytest.raises(Unavailable):
        await publisher.publish(EVENTS, "system.test", b"x", message_id="m1")
    assert time.monotonic() - began < 0.5

    await broker.start_again()
    opened = time.monotonic()
    await until(lambda: publisher.connected)
    assert time.monotonic() - opened < 5
    await publisher.publish(EVENTS, "system.test", b"x", message_id="m2")


async def test_a_killed_broker_leaves_nothing_confirmed_behind(broker: Broker, clients: Clients) -> None:
    publisher = await clients.publisher(broker.url)
    sent: list[asyncio.Future[None]] = []

    async def load() -> None:
        while publisher.connected:
            sent.extend([publisher.send(COMMANDS, KEY, b"x", message_id=f"{len(sent) + n}") for n in range(20)])
            await asyncio.wait(sent[-20:])

    loading = asyncio.ensure_future(load())
    await until(lambda: len(sent) > 500)
    await broker.crash()
    await loading
    ended = await outcomes(sent)
    assert set(ended) <= {None, Unconfirmed, Unavailable}

    await broker.start_again()
    found = await clients.letters(broker.url, "memory.commands")
    wanted = {str(n) for n, error in enumerate(ended) if error is None}
    assert len(wanted) > 400
    taken: set[str] = set()

    def all_there() -> bool:
        taken.update(each.message_id for each in found)
        return wanted <= taken

    connection = await clients.connection(broker.url)
    await connection.consume("memory.commands", found.extend, no_ack=True)
    await until(all_there)


async def test_a_memory_alarm_is_noticed_and_over_when_it_is_over(broker: Broker, clients: Clients) -> None:
    publisher = await clients.publisher(broker.url)
    broker.alarm()
    try:
        # The first publish finds out; nothing is read from this connection any more.
        with pytest.raises((Unconfirmed, Unavailable)):
            await publisher.publish(COMMANDS, KEY, b"x", message_id="m1", deadline=0.5)
        await until(lambda: not publisher.connected)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="blocked"):
            await publisher.publish(COMMANDS, KEY, b"x", message_id="m2")
        assert time.monotonic() - began < 0.2
    finally:
        broker.clear()
    await until(lambda: publisher.connected)
    await publisher.publish(COMMANDS, KEY, b"x", message_id="m3")


async def test_a_frozen_broker_is_an_unconfirmed_publish_within_the_deadline(broker: Broker, clients: Clients) -> None:
    publisher = await clients.publisher(broker.url)
    broker.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(Unconfirmed, match="no confirm"):
            await publisher.publish(COMMANDS, KEY, b"x", message_id="m1", deadline=1)
        assert 0.9 < time.monotonic() - began < 2
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await Connection.open(broker.url, name="test", timeout=1)
        assert time.monotonic() - began < 2
    finally:
        broker.thaw()
    await publisher.publish(COMMANDS, KEY, b"x", message_id="m2", deadline=10)


async def test_a_silent_broker_is_given_up_after_two_heartbeats(broker: Broker) -> None:
    connection = await Connection.open(broker.url, name="test", heartbeat=1)
    broker.freeze()
    try:
        reason = await asyncio.wait_for(asyncio.shield(connection.closed), 10)
    finally:
        broker.thaw()
    assert "silent" in reason
    with pytest.raises(Unavailable):
        await connection.call(amqp.Basic.Qos(prefetch_count=1))


async def test_heartbeats_keep_an_idle_connection_open(fresh_amqp_url: str) -> None:
    async with await Connection.open(fresh_amqp_url, name="test", heartbeat=1) as connection:
        _, waiting = await asyncio.wait([connection.closed], timeout=4)
        assert waiting, connection.closed.result()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\nthis is no broker at all", b"AMQP\x00\x00\x09\x01", b"\xce" * 100],
    ids=["silence", "HTTP", "another version", "noise"],
)
async def test_a_port_that_speaks_another_language_is_unavailable_in_time(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await Connection.open(f"amqp://u:p@127.0.0.1:{port}/", name="test", timeout=0.5)
        assert time.monotonic() - began < 2


async def test_a_wrong_password_is_unavailable_and_the_password_is_not_in_the_reason(fresh_amqp_url: str) -> None:
    user, _, rest = fresh_amqp_url.partition("@")
    with pytest.raises(Unavailable, match="ACCESS_REFUSED") as refused:
        await Connection.open(f"{user.rpartition(':')[0]}:wr0ngpass@{rest}", name="test")
    assert "wr0ngpass" not in str(refused.value)


async def test_giving_up_while_it_opens_leaves_no_socket_behind(broker: Broker) -> None:
    """ResourceWarnings are errors here, but come late; so the socket itself is looked at."""
    broker.freeze()
    try:
        opening = asyncio.ensure_future(Connection.open(broker.url, name="test"))
        await until(lambda: _connections_to(broker.port))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    finally:
        broker.thaw()
    await until(lambda: not _connections_to(broker.port))


def _connections_to(port: int) -> list[object]:
    return [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port]


async def test_stopping_a_publisher_while_the_broker_is_away_ends_it(clients: Clients) -> None:
    publisher = Publisher("amqp://u:p@127.0.0.1:1/", name="test")
    running = asyncio.ensure_future(publisher.run())
    await asyncio.wait([running], timeout=0.2)
    assert not publisher.connected
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
