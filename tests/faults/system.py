"""Every service as a real process, on a database and a broker of these tests' own, which may be broken."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from cli.local.environment import free_environment
from cli.local.postgres import Postgres
from cli.local.processes import last_lines
from cli.local.stack import Stack
from tests.integration.bus.broker import Broker
from tests.integration.callbacks.receiver import Receiver

WORKERS = ("session_worker", "memory_worker", "task_worker")


class System:
    """Broker, database and services; `mend` brings back whatever a test has broken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.broker = Broker(folder / "rabbitmq")
        self.database = Postgres(folder / "postgres")
        self.receiver = Receiver()
        self.stack: Stack
        self._receiving = ExitStack()
        # Dead letters there were when the test began.
        self.letters_before = 0

    def start(self) -> None:
        """Start everything; returns when every service is ready."""
        self._receiving.enter_context(self.receiver.running())
        self.broker.launch()
        self.database.start()
        self.broker.wait()
        environment = free_environment(
            DATABASE_URL=self.database.url, AMQP_URL=self.broker.url, SWITCHYARD_CALLBACK_ALLOW="127.0.0.1"
        )
        self.stack = Stack(self._folder / "stack", environment)
        self.stack.start()

    def stop(self) -> None:
        """End everything."""
        self.broker.thaw()
        self.stack.stop()
        self.broker.kill()
        self.database.kill()
        self._receiving.close()

    def mend(self) -> None:
        """Start what does not run, and wait until every service is ready."""
        self.broker.thaw()
        self.broker.start()
        self.database.start()
        for child in self.stack.processes.values():
            child.start()
        self.stack.wait_ready()
        self.letters_before = asyncio.run(self.dead_letters())

    @property
    def log(self) -> str:
        """The end of the services' log."""
        return last_lines(self._folder / "stack" / "stack.log", 80)

    async def sql(self, statement: LiteralString, *values: Any) -> list[Any]:
        """The rows of a query."""
        async with await psycopg.AsyncConnection.connect(self.database.url, autocommit=True) as connection:
            return await (await connection.execute(statement, values)).fetchall()

    async def ready(self, *services: str, seconds: float = 60) -> None:
        """Wait until these services (default: all) are ready."""
        await asyncio.to_thread(self.stack.wait_ready, services or None, seconds)

    async def stop_services(self, *services: str) -> None:
        """Stop these services (default: all) at once; each ends by itself."""
        children = self.stack.processes
        names = services or tuple(children)
        stopped = await asyncio.gather(*(asyncio.to_thread(children[name].stop) for name in names))
        assert dict(zip(names, stopped, strict=True)) == dict.fromkeys(names, True)

    async def crash_database(self) -> None:
        """kill -9 of every process of the server, and a start with recovery."""
        await asyncio.to_thread(self.database.kill)
        self.database.start()

    async def dead_letters(self) -> int:
        """How many dead letters there are."""
        ((count,),) = await self.sql("select count(*) from dead_letters")
        return int(count)
