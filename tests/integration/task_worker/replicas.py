"""Workers as processes, between RabbitMQ and PostgreSQL, and a client of the bus that talks to them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import psycopg

from cli.local.ports import free_port
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.messages import encode_command, new_id, spec_of
from tests.waiting import eventually_async

Ask = Callable[..., Awaitable[dict[str, Any]]]


class Replicas:
    """The processes, and a client of the bus."""

    def __init__(self, amqp_url: str, database_url: str) -> None:
        self.amqp_url = amqp_url
        self.database_url = database_url
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        """A task worker, or another module with its arguments."""
        environment = {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "AMQP_URL": self.amqp_url,
            "SWITCHYARD_WORKERS_PORT": str(free_port(range(4))),
        }
        command = command or ("services.task_worker",)
        self.processes.append(subprocess.Popen([sys.executable, "-m", *command], env=environment))

    def run(self, talk: Callable[[Ask], Awaitable[Any]]) -> Any:
        """What a conversation over the bus comes to."""

        async def converse() -> Any:
            publisher = Publisher(self.amqp_url, name="tests")
            running = asyncio.create_task(publisher.run())
            rpc = Rpc(publisher)

            async def ask(name: str, /, *, by: str = "ada", **data: Any) -> dict[str, Any]:
                spec, message_id = spec_of(name), data.pop("message_id", None) or new_id()
                if spec.reads:
                    result: dict[str, Any] = (await rpc.query(name, data, sender=by)).value()
                    return result
                body = encode_command(name, data, message_id=message_id, sender_agent_id=by)
                reply = orjson.loads(await rpc.request(spec, body, message_id=message_id, wait=40))
                assert reply["ok"], reply
                return dict(reply["result"])

            try:
                await eventually_async(lambda: asyncio.sleep(0, publisher.connected))
                return await talk(ask)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        return asyncio.run(converse())

    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            # Rows without columns (`select from`) have an empty description, and are rows.
            return cursor.fetchall() if cursor.description is not None else []
