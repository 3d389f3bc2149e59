"""The task worker as a process, between RabbitMQ and PostgreSQL."""

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


async def converse(amqp_url: str, database_url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Delegate and claim a task, let its lease lapse, and wait until it waits again; the claim, and the task then."""
    publisher = Publisher(amqp_url, name="tests")
    running = asyncio.create_task(publisher.run())
    rpc = Rpc(publisher)

    async def ask(name: str, data: dict[str, Any]) -> dict[str, Any]:
        message_id = new_id()
        body = encode_command(name, data, message_id=message_id, sender_agent_id="ada")
        reply = orjson.loads(await rpc.request(spec_of(name), body, message_id=message_id, wait=30))
        assert reply["ok"], reply
        result: dict[str, Any] = reply["result"]
        return result

    async def requeued() -> dict[str, Any] | None:
        found = await rpc.query("get_task", {"task_id": claimed["task_id"]}, sender="ada")
        task: dict[str, Any] = found.value()["task"]
        return task if task["status"] == "pending" else None

    try:
        await eventually_async(lambda: asyncio.sleep(0, publisher.connected))
        await ask("delegate_task", {"session_id": "s1", "agent_name": "codex", "task_type": "t"})
        (claimed,) = (await ask("claim_task", {"agent_name": "codex", "worker_id": "w1"}))["tasks"]
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            await connection.execute("update tasks set lease_expires = now() - interval '1 second'")
        return claimed, await eventually_async(requeued, 30) or {}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_it_hands_out_tasks_and_takes_lapsed_ones_back_by_itself(database_url, amqp_url):
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into sessions (id) values ('s1')")
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "AMQP_URL": amqp_url,
        "SWITCHYARD_WORKERS_PORT": str(free_port(range(4))),
    }
    process = subprocess.Popen([sys.executable, "-m", "services.task_worker"], env=environment)
    try:
        claimed, task = asyncio.run(converse(amqp_url, database_url))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (claimed["status"], claimed["attempt"]) == ("claimed", 1)
    assert (task["status"], task["attempt"], task["claimed_by"]) == ("pending", 1, None)
