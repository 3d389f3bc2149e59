"""The embedded PostgreSQL and the private RabbitMQ, started, killed and started again."""

import asyncio
from collections.abc import Callable

import aio_pika
import psutil
import psycopg
import pytest

from cli.local.postgres import Postgres
from cli.local.rabbitmq import RabbitMQ
from tests.waiting import eventually


def rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("select count(*) from kept").fetchone()
    assert found is not None
    return int(found[0])


def write(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists kept (n int)")
        connection.execute("insert into kept values (1)")


async def publish(url: str) -> None:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"one", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")


async def take(url: str) -> bytes:
    connection = await aio_pika.connect(url)
    async with connection, asyncio.timeout(10):
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        async with queue.iterator() as messages:
            message = await anext(messages)
            await message.ack()
            return message.body


def test_a_database_killed_with_all_its_processes_finds_its_data_again(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    server.start()
    url = server.url
    write(url)

    server.kill()
    assert not server.running
    assert not server.crashed
    server.start()

    assert server.url == url
    assert rows(url) == 1


def test_a_database_starts_over_the_lock_file_of_a_killed_postmaster(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    server.start()
    write(server.url)
    assert server.pid is not None

    psutil.Process(server.pid).kill()  # the postmaster alone, as the kernel's memory killer would
    eventually(lambda: server.crashed)
    server.start()

    assert rows(server.url) == 1


def test_a_stale_lock_file_naming_a_living_process_is_no_obstacle(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    server.start()
    server.kill()
    lock = server.cluster / "postmaster.pid"
    lock.write_text("\n".join([str(psutil.Process().pid), *lock.read_text().split("\n")[1:]]))

    server.start()

    assert server.running


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_stopped_database_finds_its_data_again(make_postgres: Callable[[], Postgres], mode: str) -> None:
    server = make_postgres()
    server.start()
    write(server.url)

    server.stop(mode)
    assert not server.running
    server.start()

    assert rows(server.url) == 1


def test_two_databases_run_side_by_side(make_postgres: Callable[[], Postgres]) -> None:
    one, two = make_postgres(), make_postgres()
    one.launch()
    two.start()
    one.wait()

    write(one.url)
    write(two.url)
    write(two.url)

    assert (rows(one.url), rows(two.url)) == (1, 2)


def test_a_database_refuses_a_wrong_password(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://switchyard:wrong@127.0.0.1:{postgres.port}/switchyard")


def test_the_databases_durability_is_on_and_vectors_are_at_hand(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    server.start()
    with psycopg.connect(server.url) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"show {name}").fetchone() == ("on",)
        connection.execute("create extension vector")


def test_a_broker_killed_and_started_again_has_its_messages(make_rabbitmq: Callable[[], RabbitMQ]) -> None:
    broker = make_rabbitmq()
    broker.start()
    url = broker.url
    asyncio.run(publish(url))
    eventually(lambda: broker.registered("kept"))

    broker.kill()
    assert not broker.running
    broker.start()

    assert broker.url == url
    assert asyncio.run(take(url)) == b"one"


def test_two_brokers_run_side_by_side_and_leave_no_process(make_rabbitmq: Callable[[], RabbitMQ]) -> None:
    one, two = make_rabbitmq(), make_rabbitmq()
    one.launch()
    two.start()
    one.wait()
    asyncio.run(publish(one.url))
    assert one.pid is not None
    family = [psutil.Process(one.pid), *psutil.Process(one.pid).children(recursive=True)]
    epmd = [process.pid for process in family if process.name() == "epmd"]

    one.stop()

    assert epmd == []
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert two.running


def test_a_frozen_broker_is_silent_until_it_is_thawed(make_rabbitmq: Callable[[], RabbitMQ]) -> None:
    broker = make_rabbitmq()
    broker.start()
    asyncio.run(publish(broker.url))

    broker.freeze()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(take(broker.url), 0.5))
    broker.thaw()

    assert asyncio.run(take(broker.url)) == b"one"


def test_the_brokers_guest_account_does_not_exist(rabbitmq: RabbitMQ) -> None:
    with pytest.raises(aio_pika.exceptions.ProbableAuthenticationError):
        asyncio.run(publish(f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}/"))


def test_a_virtual_host_of_its_own_is_empty_and_usable(fresh_amqp_url: str, amqp_url: str) -> None:
    asyncio.run(publish(amqp_url))
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        asyncio.run(take(fresh_amqp_url))
    asyncio.run(publish(fresh_amqp_url))
    assert asyncio.run(take(fresh_amqp_url)) == b"one"
