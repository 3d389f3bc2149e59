"""A worker's handlers and queries on a real database, run as the worker runtime runs them, without a broker."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import orjson
from sqlalchemy import text

from shared.bus.commit import GroupCommit, HandledElsewhere, Outcome
from shared.bus.queries import QueryHandler
from shared.bus.replies import BatchHandler, Handler
from shared.bus.sharing import Sharing
from shared.database import Database, Transaction
from shared.errors import Rejected
from shared.messages import Command, JsonText, decode_command, encode, encode_command, new_id

T = TypeVar("T")


class Handling:
    """Runs commands and queries; every call is a transaction of its own."""

    handlers: Mapping[str, Handler] = {}
    batch_handlers: Mapping[str, BatchHandler] = {}
    queries: Mapping[str, QueryHandler] = {}
    sharing = Sharing()

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
        name: str,
        data: dict[str, Any] | str,
        *,
        message_id: str | None = None,
        sender: str = "ada",
        caller: str | None = None,
        **envelope: Any,
    ) -> Command:
        body = JsonText(data.encode()) if isinstance(data, str) else data
        message_id = message_id or new_id()
        sent = encode_command(name, body, message_id=message_id, sender_agent_id=sender, caller=caller, **envelope)
        return decode_command(sent)

    async def commit(self, *commands: Command) -> list[Outcome]:
        """Commands in one transaction, tried again while another worker has handled one of them meanwhile."""
        while True:
            try:
                async with self.database.transaction() as tx:
                    commit = GroupCommit(self.handlers, self.batch_handlers, self.sharing)
                    outcomes = await commit.run(tx, list(commands), patient=set())
            except HandledElsewhere:
                continue
            assert all(isinstance(outcome, Outcome) for outcome in outcomes)
            return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]

    def ask_text(self, name: str, *, sender: str = "ada", by_admin: bool = False, **fields: Any) -> bytes:
        command = self.command(name, fields, sender=sender, by_admin=by_admin)

        async def ask() -> bytes:
            async with self.database.reading() as tx:
                return encode(await self.queries[name](tx, command))

        return self.run(ask())

    def ask(self, name: str, **fields: Any) -> dict[str, Any]:
        """The result of a question, or the error of its refusal."""
        try:
            result: dict[str, Any] = orjson.loads(self.ask_text(name, **fields))
        except Rejected as refusal:
            return refusal.as_error()
        return result

    def plan(self, explained: Callable[[Transaction], Awaitable[Any]]) -> str:
        """The plans of the statements that a function runs, with what each node did."""

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
    """The result of a command, or the error of its refusal."""
    reply = orjson.loads(outcome.reply)
    result: dict[str, Any] = reply["result"] if reply["ok"] else reply["error"]
    return result


def events_of(outcome: Outcome) -> list[dict[str, Any]]:
    """The events of a command."""
    return [orjson.loads(event.body) for event in outcome.events]
