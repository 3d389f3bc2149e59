"""The memory worker's handlers on a real database, run as the worker runtime runs them, without a broker."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import orjson
import pytest
from sqlalchemy import text

from services.memory_worker.handlers import BATCH_HANDLERS
from services.memory_worker.queries import QUERIES
from shared.bus.commit import GroupCommit, Outcome
from shared.database import Database, Transaction
from shared.errors import Rejected
from shared.messages import JsonText, decode_command, encode, encode_command, new_id

T = TypeVar("T")


class MemoryWorker:
    """Stores and asks; every call is a transaction of its own."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = Database(url, name="tests")

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def close(self) -> None:
        self.run(self.database.close())
        self._runner.close()

    def open_sessions(self, *ids: str) -> None:
        self.sql("insert into sessions (id) select unnest(cast(:ids as text[]))", ids=list(ids))

    def sql(self, statement: str, **values: Any) -> list[Any]:
        async def execute() -> list[Any]:
            async with self.database.transaction() as tx:
                result = await tx.execute(text(statement), values)
                return list(result) if result.returns_rows else []

        return self.run(execute())

    async def commit(self, *data: dict[str, Any] | str, sender: str = "ada") -> list[Outcome]:
        commands = [
            decode_command(
                encode_command(
                    "store_memory",
                    JsonText(each.encode()) if isinstance(each, str) else each,
                    message_id=new_id(),
                    sender_agent_id=sender,
                )
            )
            for each in data
        ]
        async with self.database.transaction() as tx:
            outcomes = await GroupCommit({}, BATCH_HANDLERS).run(tx, commands, patient=False)
        assert all(isinstance(outcome, Outcome) for outcome in outcomes)
        return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]

    def store(self, *data: dict[str, Any] | str, sender: str = "ada") -> list[dict[str, Any]]:
        """Store a batch; the memory of each reply, or its error."""
        replies = [orjson.loads(outcome.reply) for outcome in self.run(self.commit(*data, sender=sender))]
        return [reply["result"]["memory"] if reply["ok"] else reply["error"] for reply in replies]

    def ask_text(self, name: str, **data: Any) -> bytes:
        command = decode_command(encode_command(name, data, message_id=new_id(), sender_agent_id="ada"))

        async def ask() -> bytes:
            async with self.database.reading() as tx:
                return encode(await QUERIES[name](tx, command))

        return self.run(ask())

    def ask(self, name: str, **data: Any) -> dict[str, Any]:
        """The result of a question, or the error of its refusal."""
        try:
            result: dict[str, Any] = orjson.loads(self.ask_text(name, **data))
        except Rejected as refusal:
            return refusal.as_error()
        return result

    def plan(self, explained: Callable[[Transaction], Awaitable[Any]]) -> str:
        """The plans of the statements that a function runs, with what each node did."""

        async def collect() -> str:
            async with self.database.transaction() as tx:
                recorder = _Explaining(tx)
                await explained(recorder)  # type: ignore[arg-type]
                return "\n".join(recorder.plans)

        return self.run(collect())


class _Explaining:
    """A transaction that explains each statement before it runs it."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.plans: list[str] = []

    async def execute(self, statement: Any, values: dict[str, Any]) -> Any:
        explained = text(f"explain (analyze, costs off, timing off, summary off) {statement.text}")
        self.plans.append("\n".join((await self._tx.execute(explained, values)).scalars()))
        return await self._tx.execute(statement, values)


@pytest.fixture
def worker(database_url: str) -> Iterator[MemoryWorker]:
    """A memory worker on a fresh database with the sessions s1 and s2."""
    worker = MemoryWorker(database_url)
    worker.open_sessions("s1", "s2")
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def module_worker(module_database_url: str) -> Iterator[MemoryWorker]:
    """A memory worker on one database for the module."""
    worker = MemoryWorker(module_database_url)
    yield worker
    worker.close()
