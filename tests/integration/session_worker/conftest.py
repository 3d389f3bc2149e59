"""The session worker's handlers and queries on a real database, run as the worker runtime runs them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import orjson
import pytest
from sqlalchemy import text

from services.session_worker.handlers import BATCH_HANDLERS, HANDLERS
from services.session_worker.queries import QUERIES
from shared.bus.commit import GroupCommit, HandledElsewhere, Outcome
from shared.database import Database, Transaction
from shared.errors import Rejected
from shared.messages import Command, JsonText, decode_command, encode, encode_command, new_id

T = TypeVar("T")


class SessionWorker:
    """Runs commands and queries; every call is a transaction of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._runner = asyncio.Runner()
        self.database = Database(url, name="tests", size=10)

    def run(self, work: Awaitable[T]) -> T:
        """The result of a coroutine, on the loop that the database belongs to."""

        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def close(self) -> None:
        self.run(self.database.close())
        self._runner.close()

    def sql(self, statement: str, **values: Any) -> list[Any]:
        async def execute() -> list[Any]:
            async with self.database.transaction() as tx:
                result = await tx.execute(text(statement), values)
                return list(result) if result.returns_rows else []

        return self.run(execute())

    @staticmethod
    def command(
        name: str, data: dict[str, Any] | str, *, message_id: str | None = None, sender: str = "ada"
    ) -> Command:
        body = JsonText(data.encode()) if isinstance(data, str) else data
        return decode_command(encode_command(name, body, message_id=message_id or new_id(), sender_agent_id=sender))

    async def commit(self, *commands: Command) -> list[Outcome]:
        """Commands in one transaction, tried again while another worker has handled one of them meanwhile."""
        while True:
            try:
                async with self.database.transaction() as tx:
                    outcomes = await GroupCommit(HANDLERS, BATCH_HANDLERS).run(tx, list(commands), patient=set())
            except HandledElsewhere:
                continue
            assert all(isinstance(outcome, Outcome) for outcome in outcomes)
            return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]

    def outcomes(self, *commands: Command) -> list[Outcome]:
        return self.run(self.commit(*commands))

    def do(
        self, name: str, data: dict[str, Any] | str | None = None, *, sender: str = "ada", **fields: Any
    ) -> dict[str, Any]:
        """The result of one command, or the error of its refusal."""
        return result_of(self.outcomes(self.command(name, data or fields, sender=sender))[0])

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of one command."""
        return events_of(self.outcomes(self.command(name, fields))[0])

    def ask_text(self, name: str, **fields: Any) -> bytes:
        command = self.command(name, fields)

        async def ask() -> bytes:
            async with self.database.reading() as tx:
                return encode(await QUERIES[name](tx, command))

        return self.run(ask())

    def ask(self, name: str, **fields: Any) -> dict[str, Any]:
        """The result of a question, or the error of its refusal."""
        try:
            result: dict[str, Any] = orjson.loads(self.ask_text(name, **fields))
        except Rejected as refusal:
            return refusal.as_error()
        return result

    def all_pages(self, name: str, noun: str, **fields: Any) -> list[Any]:
        """Everything a list holds, read page by page."""
        found: list[Any] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self.ask(name, **fields, **cursor)
            found += page[noun]
            if page["next"] is None:
                return found
            assert page[noun]
            cursor = {"cursor": page["next"]}

    def plan(self, explained: Callable[[Transaction], Awaitable[Any]]) -> str:
        """The plans of the statements that a function runs, as they were executed."""

        async def collect() -> str:
            async with self.database.transaction() as tx:
                explaining = _Explaining(tx)
                await explained(explaining)  # type: ignore[arg-type]
                return "\n".join(explaining.plans)

        return self.run(collect())


class _Explaining:
    """A transaction that explains each statement before it runs it."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.plans: list[str] = []

    async def execute(self, statement: Any, values: dict[str, Any] | None = None) -> Any:
        explained = text(f"explain (analyze, costs off, timing off, summary off, buffers off) {statement.text}")
        self.plans.append("\n".join((await self._tx.execute(explained, values or {})).scalars()))
        return await self._tx.execute(statement, values or {})


def result_of(outcome: Outcome) -> dict[str, Any]:
    reply = orjson.loads(outcome.reply)
    result: dict[str, Any] = reply["result"] if reply["ok"] else reply["error"]
    return result


def events_of(outcome: Outcome) -> list[dict[str, Any]]:
    return [orjson.loads(event.body) for event in outcome.events]


@pytest.fixture
def worker(database_url: str) -> Iterator[SessionWorker]:
    """A session worker on a fresh database."""
    worker = SessionWorker(database_url)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def module_worker(module_database_url: str) -> Iterator[SessionWorker]:
    """A session worker on one database for the module."""
    worker = SessionWorker(module_database_url)
    yield worker
    worker.close()
