"""More than one gateway, and a broker that comes and goes."""

from collections.abc import Callable

import pytest

from cli.local.rabbitmq import RabbitMQ
from tests.integration.ws_gateway.processes import (
    GatewayProcess,
    Source,
    connected,
    numbers,
    session_worker,
    token,
)
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TOPIC = "session.s1.insight"


async def test_a_client_goes_on_at_another_gateway(
    gateway: GatewayProcess, make_gateway: Callable[..., GatewayProcess], source: Source
) -> None:
    other = make_gateway()
    other.start()
    async with connected(gateway, token("wanderer")) as client:
        await client.ask("subscribe", topics=[TOPIC])
        expected = await source.publish(30)
        seen = await client.events(30)
        epoch = client.hello["epoch"]
    expected += await source.publish(30)
    async with connected(other, token("wanderer")) as client:
        assert client.hello["epoch"] == epoch
        answer = await client.ask("subscribe", topics=[TOPIC], since=seen[-1]["cursor"])
        assert answer["recovered"] is True
        seen += await client.events(30)
    assert numbers(seen) == expected


async def test_clients_stay_while_the_broker_is_killed_and_miss_nothing(
    make_rabbitmq: Callable[[], RabbitMQ], database_url: str
) -> None:
    broker = make_rabbitmq()
    broker.start()
    worker, gateway = session_worker(broker.url, database_url), GatewayProcess(broker.url)
    try:
        worker.start()
        gateway.start()
        async with connected(gateway) as client:
            await client.ask("subscribe", topics=[TOPIC])
            async with Source(broker.url) as source:
                expected = await source.publish(100)
                seen = await client.events(100)
                sent = source.numbers
            eventually(lambda: broker.streams_registered() and broker.registered("session.commands"))
            broker.kill()
            eventually(lambda: gateway.get("/health/ready")[0] == 503, 20)
            assert gateway.get("/health/live")[0] == 200
            answer = await client.ask("command", command="list_sessions", data={}, message_id="c1")
            assert answer["code"] in ("unavailable", "timeout")
            broker.start()
            async with Source(broker.url) as source:
                source.numbers = sent
                expected += await source.publish(100)
            seen += await client.events(100, 60)
            eventually(lambda: gateway.get("/health/ready")[0] == 200, 30)
            assert numbers(seen) == expected
            answer = await client.ask("command", command="list_sessions", data={}, message_id="c1")
            assert answer["type"] == "response"
    finally:
        gateway.stop()
        worker.stop()


async def test_a_gateway_that_starts_first_waits_for_broker_and_worker(
    make_rabbitmq: Callable[[], RabbitMQ], database_url: str
) -> None:
    broker = make_rabbitmq()
    broker.start()
    url = broker.url
    broker.kill()
    worker, gateway = session_worker(url, database_url), GatewayProcess(url)
    try:
        gateway.start(ready=False)
        assert gateway.get("/health/ready")[0] == 503
        broker.start()
        assert gateway.get("/health/ready")[0] == 503
        worker.start()
        eventually(lambda: gateway.get("/health/ready")[0] == 200, 40)
        async with connected(gateway) as client:
            assert (await client.ask("subscribe", topics=["#"]))["type"] == "subscribed"
    finally:
        gateway.stop()
        worker.stop()
