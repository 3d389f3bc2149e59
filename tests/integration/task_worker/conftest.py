"""The task worker's handlers on a real database, run as the worker runtime runs them, without a broker."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

import orjson
import pytest
from sqlalchemy import text

from services.task_worker.handlers import HANDLERS
from services.task_worker.queries import QUERIES
from shared.bus.commit import GroupCommit, Outcome
from shared.database import Database
from shared.errors import Rejected
from shared.messages import JsonText, decode_command, encode, encode_command, new_id

T = TypeVar("T")


class TaskWorker:
    """Commands and questions; every call is a transaction of its own."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = Database(url, name="tests", size=8)

    def run(self, work: Awaitable[T]) -> T:
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

    async def commit(self, *commands: tuple[str, dict[str, Any] | str]) -> list[Outcome]:
        decoded = [
            decode_command(
                encode_command(
                    name,
                    JsonText(data.encode()) if isinstance(data, str) else data,
                    message_id=new_id(),
                    sender_agent_id="ada",
                )
            )
            for name, data in commands
        ]
        async with self.database.transaction() as tx:
            outcomes = await GroupCommit(HANDLERS, {}).run(tx, decoded, patient=False)
        return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]

    async def do(self, name: str, **data: Any) -> dict[str, Any]:
        """The result of one command, or its error."""
        (outcome,) = await self.commit((name, data))
        reply = orjson.loads(outcome.reply)
        result: dict[str, Any] = reply["result"] if reply["ok"] else reply["error"]
        return result

    def delegate(self, agent_name: str = "codex", **data: Any) -> dict[str, Any]:
        return self.run(self.do("delegate_task", session_id="s1", agent_name=agent_name, task_type="t", **data))["task"]

    def claim(self, agent_name: str = "codex", worker_id: str = "w1", **data: Any) -> list[dict[str, Any]]:
        return self.run(self.do("claim_task", agent_name=agent_name, worker_id=worker_id, **data))["tasks"]

    def complete(self, task: dict[str, Any], lease_token: str | None = None, **data: Any) -> dict[str, Any]:
        token = lease_token or task["lease_token"]
        return self.run(self.do("complete_task", task_id=task["task_id"], lease_token=token, **data))

    def let_leases_lapse(self) -> None:
        self.sql("update tasks set lease_expires = now() - interval '1 second' where lease_expires is not null")

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


@pytest.fixture
def worker(database_url: str) -> Iterator[TaskWorker]:
    """A task worker on a fresh database with the sessions s1 and s2, and agents without a limit."""
    worker = TaskWorker(database_url)
    worker.sql("insert into sessions (id) values ('s1'), ('s2')")
    worker.sql("update agents set max_concurrent = 0")
    yield worker
    worker.close()
