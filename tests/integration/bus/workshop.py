"""A worker with handlers of the tests' own: each effect is a row, and what a command's content says is what happens.

`record_insight` needs no session and runs alone; `store_memory` needs one and runs by the batch; `create_session` opens
one. Every effect of either is told by one event, an `llm_conversation_insight`.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson
from pamqp import commands as amqp
from sqlalchemy import text

from shared.bus.publisher import REPLIES, Publisher
from shared.bus.replies import Handler, Reply
from shared.bus.rpc import Rpc
from shared.bus.tail import StreamEvent
from shared.bus.topology import COMMANDS
from shared.bus.worker import Worker
from shared.database import Database, Transaction
from shared.errors import Rejected, Transient
from shared.messages import Command, JsonText, encode_command, new_id, spec_of
from shared.messages.session import LlmConversationInsight
from tests.integration.bus.clients import Clients, until
from tests.waiting import eventually_async


class Workshop:
    """Runs workers and gives them work."""

    def __init__(self, url: str, database_url: str, clients: Clients) -> None:
        self.url = url
        self.clients = clients
        self.database = Database(database_url, name="test")
        self.publisher: Publisher
        self.rpc: Rpc
        self.events: list[StreamEvent]
        self.batches: list[list[str]] = []
        self.running: dict[Worker, asyncio.Task[None]] = {}
        # Handlers wait for it, so that a test can hold a transaction open.
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def prepare(self) -> None:
        """Connect, and make the table of effects; nothing keeps it from holding one twice."""
        self.clients.on_exit(self.database.close)
        self.publisher = await self.clients.publisher(self.url)
        self.rpc = await self.clients.rpc(self.url)
        self.events = self.clients.tail(self.url)
        await self.sql(
            "create table if not exists effects"
            " (id bigint generated always as identity, message_id text, session_id text, content text)"
        )

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement; returns its rows."""
        async with self.database.transaction() as tx:
            result = await tx.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    async def open(self, *sessions: str) -> None:
        """Make sessions."""
        await self.sql("insert into sessions (id) select unnest(cast(:ids as text[]))", ids=list(sessions))

    async def effects(self) -> Counter[str]:
        """How often each message had its effect."""
        return Counter(row.message_id for row in await self.sql("select message_id from effects order by id"))

    # Workers

    async def worker(self, *, connected: bool = True, more: Mapping[str, Handler] | None = None) -> Worker:
        """Start a worker for the session and memory areas, which runs some commands more if given."""
        publisher = await self.clients.publisher(self.url)
        worker = Worker(
            name="test",
            url=self.url,
            areas=["session", "memory"],
            database=self.database,
            publisher=publisher,
            handlers={"record_insight": self._insight, "create_session": self._create, **(more or {})},
            batch_handlers={"store_memory": self._memories},
        )
        self.running[worker] = self.clients.spawn(worker.run())
        if connected:
            await until(lambda: worker.connected)
        return worker

    async def stop(self, worker: Worker) -> None:
        """As SIGTERM does: returns when what was in hand is done."""
        worker.stop()
        async with asyncio.timeout(20):
            await self.running[worker]

    async def _insight(self, tx: Transaction, command: Command) -> Reply:
        wish = command.data.insight.value()
        if isinstance(wish, dict):
            await self._grant(tx, command, wish)
        await self._effect(tx, [command])
        return _done(command, command.data.session_id, command.data.insight)

    async def _grant(self, tx: Transaction, command: Command, wish: dict[str, Any]) -> None:
        if "reject" in wish:
            raise Rejected("conflict", str(wish["reject"]))
        if "transient" in wish and not command.correlation_id:
            raise Transient("not yet", retry_after=wish["transient"])
        if "bug" in wish:
            await self._effect(tx, [command])
            raise RuntimeError(str(wish["bug"]))
        if "sql" in wish:
            await tx.execute(text(wish["sql"]))

    async def _create(self, tx: Transaction, command: Command) -> Reply:
        await tx.execute(text("insert into sessions (id) values (:id)"), {"id": command.session_id})
        await self._effect(tx, [command])
        return _done(command, command.session_id, JsonText.of("created"))

    async def _memories(self, tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
        self.batches.append([command.message_id for command in commands])
        refused = [c for c in commands if c.data.key == "refused"]
        if any(c.data.key == "bug" for c in commands):
            raise RuntimeError("a bug of the batch handler")
        await self._effect(tx, [c for c in commands if c not in refused])
        return [
            Rejected("conflict", "refused as asked")
            if command in refused
            else _done(command, command.session_id, command.data.content, counts={"memory_count": 1})
            for command in commands
        ]

    async def _effect(self, tx: Transaction, commands: list[Command]) -> None:
        await self.go_on.wait()
        for command in commands:
            await tx.execute(
                text("insert into effects (message_id, session_id) values (:m, :s)"),
                {"m": command.message_id, "s": command.session_id},
            )

    # Work

    def insight(
        self, content: Any = "fine", *, message_id: str | None = None, **envelope: Any
    ) -> tuple[str, bytes, str]:
        """A `record_insight`, as (message id, body, routing key)."""
        session_id = envelope.pop("session_id", None)
        return _command("record_insight", {"insight": content, "session_id": session_id}, message_id, envelope)

    def memory(
        self, session_id: str, content: Any = 1, *, key: str = "k", message_id: str | None = None, **envelope: Any
    ) -> tuple[str, bytes, str]:
        """A `store_memory`, as (message id, body, routing key)."""
        data = {"session_id": session_id, "type": "fact", "key": key, "content": content}
        return _command("store_memory", data, message_id, envelope)

    def command(self, name: str, data: dict[str, Any], *, message_id: str | None = None) -> tuple[str, bytes, str]:
        """Any command, as (message id, body, routing key)."""
        return _command(name, data, message_id, {})

    async def send(self, *commands: tuple[str, bytes, str], headers: dict[str, Any] | None = None) -> list[str]:
        """Publish commands, confirmed; returns their ids."""
        sent = [self.publisher.send(COMMANDS, key, body, message_id=m, headers=headers) for m, body, key in commands]
        await asyncio.gather(*sent)
        return [m for m, _, _ in commands]

    async def ask(self, command: tuple[str, bytes, str], wait: float = 20) -> dict[str, Any]:
        """Send a command and wait for its reply."""
        message_id, body, key = command
        spec = spec_of(key.partition(".")[2])
        reply: dict[str, Any] = orjson.loads(
            await self.rpc.request(spec, body, message_id=message_id, wait=wait, deadline=20)
        )
        return reply

    async def ask_raw(self, routing_key: str, body: bytes, *, wait: float = 20, **properties: Any) -> dict[str, Any]:
        """Send any bytes as a command and wait for the reply."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.rpc._waiting["raw"] = future
        await self.rpc._publisher.publish(
            COMMANDS, routing_key, body, message_id="raw", reply_to=REPLIES, correlation_id="raw", **properties
        )
        async with asyncio.timeout(wait):
            reply: dict[str, Any] = orjson.loads(await future)
        return reply

    def told(self) -> list[dict[str, Any]]:
        """The events of the stream so far."""
        return [orjson.loads(event.body) for event in self.events]

    async def all_told(self, message_ids: list[str], deadline: float = 30) -> list[dict[str, Any]]:
        """Wait until each of these commands is told of by an event; returns the events without the copies of any."""

        def complete() -> bool:
            return set(message_ids) <= {event["correlation_id"] for event in self.told()}

        await until(complete, deadline)
        return list({event["message_id"]: event for event in self.told()}.values())

    async def nothing_queued(self) -> None:
        """Wait until no command is ready in a queue."""

        async def is_empty() -> bool:
            return not await self.queued("memory.commands") and not await self.queued("session.commands")

        await eventually_async(is_empty, 20)

    async def queued(self, queue: str = "memory.commands") -> int:
        """How many messages are ready in a queue."""
        async with await self.clients.short_connection(self.url) as connection:
            declared = await connection.call(amqp.Queue.Declare(queue=queue, passive=True))
        return int(declared.message_count)


def _command(
    name: str, data: dict[str, Any], message_id: str | None, envelope: dict[str, Any]
) -> tuple[str, bytes, str]:
    message_id = message_id or new_id()
    data = {field: value for field, value in data.items() if value is not None}
    body = encode_command(name, data, message_id=message_id, sender_agent_id="ada", **envelope)
    return message_id, body, spec_of(name).routing_key


def _done(command: Command, session_id: str | None, content: JsonText, counts: dict[str, int] | None = None) -> Reply:
    event = LlmConversationInsight(session_id=session_id, insight=content)
    return Reply(result={"handled": command.message_id}, events=[event], counts=counts or {})
