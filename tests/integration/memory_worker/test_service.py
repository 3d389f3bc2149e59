"""The memory worker as a process, between RabbitMQ and PostgreSQL."""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import orjson
import psycopg

from cli.local.ports import free_port
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.messages import encode_command, new_id, spec_of
from tests.waiting import eventually_async


async def converse(amqp_url: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Store fifty memories at once, and find one of them."""
    publisher = Publisher(amqp_url, name="tests")
    running = asyncio.create_task(publisher.run())
    rpc = Rpc(publisher)

    async def store(number: int) -> dict[str, Any]:
        data = {"session_id": "s1", "type": "fact", "key": f"k{number % 40}", "content": f"word{number}"}
        message_id = new_id()
        body = encode_command("store_memory", data, message_id=message_id, sender_agent_id="ada")
        reply: dict[str, Any] = orjson.loads(
            await rpc.request(spec_of("store_memory"), body, message_id=message_id, wait=30)
        )
        return reply

    try:
        await eventually_async(lambda: asyncio.sleep(0, publisher.connected))
        replies = await asyncio.gather(*(store(number) for number in range(50)))
        found = await rpc.query("query_memories", {"text": "word17"}, sender="ada", wait=30)
        return replies, found.value()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_it_stores_answers_and_stops_cleanly(database_url, amqp_url):
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into sessions (id) values ('s1')")
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "AMQP_URL": amqp_url,
        "SWITCHYARD_WORKERS_PORT": str(free_port(range(4))),
    }
    process = subprocess.Popen([sys.executable, "-m", "services.memory_worker"], env=environment)
    try:
        replies, found = asyncio.run(converse(amqp_url))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert all(reply["ok"] for reply in replies)
    assert sorted(reply["result"]["memory"]["version"] for reply in replies) == [1] * 40 + [2] * 10
    assert [memory["key"] for memory in found["memories"]] == ["k17"]
    assert found["memories"][0]["highlight"] == "<mark>word17</mark>"
