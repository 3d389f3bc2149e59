"""Reading commands, on FastStream: answered side by side, never recorded, gone when nobody waits for them any more."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aio_pika.exceptions import AMQPError
from faststream import AckPolicy
from faststream.rabbit import RabbitMessage

from shared.bus.bodies import MAX_BODY, packed
from shared.bus.general_client import consume, general_broker
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.bus.replies import error_reply
from shared.bus.topology import queries_queue
from shared.database import Database, Transaction, is_transient
from shared.errors import BusError, Rejected, invalid
from shared.logs import get_logger
from shared.messages import Command, decode_command, encode
from shared.telemetry import QUERIES, span, trace_id

QueryHandler = Callable[[Transaction, Command], Awaitable[dict[str, Any]]]


class PreparedQuery:
    """A query that must ask elsewhere before it reads: no database connection waits for a network call."""

    def __init__(
        self,
        prepare: Callable[[Command], Awaitable[Any]],
        answer: Callable[..., Awaitable[dict[str, Any]]],
    ) -> None:
        """`answer` is a query handler that is also given, as `needed`, what `prepare` returned."""
        self._prepare = prepare
        self._answer = answer

    async def prepared(self, command: Command) -> QueryHandler:
        """The handler of this one command, once what it needs is there."""
        return functools.partial(self._answer, needed=await self._prepare(command))

    async def __call__(self, tx: Transaction, command: Command) -> dict[str, Any]:
        """Prepare and answer at once, for whoever has a connection anyway."""
        return await (await self.prepared(command))(tx, command)


# Reads under way at once; more wait in the broker, each no longer than its asker.
CONCURRENT_READS = 16
log = get_logger()


class QueryServer:
    """Answers the reading commands of some areas."""

    def __init__(
        self,
        *,
        url: str,
        areas: Sequence[str],
        database: Database,
        publisher: Publisher,
        handlers: Mapping[str, QueryHandler],
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._handlers = handlers
        self._broker = general_broker(url, prefetch=CONCURRENT_READS)
        for area in areas:
            # Acknowledged when answered, however: until then it counts against the prefetch, and others wait outside.
            consume(self._broker, queries_queue(area), self._answer, AckPolicy.ACK)

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._publisher.wait_connected()
            try:
                async with asyncio.timeout(10):
                    await self._broker.start()
                break
            except (OSError, TimeoutError, RuntimeError, AMQPError) as error:
                log.warning("queries_not_started", reason=str(error) or "timed out", retry_s=RECONNECT_SECONDS)
                await asyncio.sleep(RECONNECT_SECONDS)
        try:
            await asyncio.Event().wait()
        finally:
            await self._broker.stop()

    async def _answer(self, message: RabbitMessage) -> None:
        raw = message.raw_message
        if raw.redelivered:
            # It died with a worker, perhaps not by chance; whoever still wants it asks again.
            log.warning("query_dropped", routing_key=raw.routing_key)
            return
        try:
            body = raw.body if raw.content_encoding in (None, "") else _refuse_encoding(raw.content_encoding)
            command = decode_command(body)
            handler = self._handlers.get(command.spec.name)
            if handler is None:
                raise invalid(f"{command.spec.name!r} was published as {raw.routing_key!r}, where nobody answers it")
            traceparent = str(raw.headers.get("traceparent") or "")
            with QUERIES.labels(command.spec.name).time(), span("query", [traceparent] if traceparent else []):
                result = await self._read(handler, command)
            log.debug(
                "query_answered",
                command=command.spec.name,
                message_id=command.message_id,
                trace_id=trace_id(traceparent),
            )
            reply = encode({"ok": True, "result": result})
            if len(reply) > MAX_BODY:
                raise Rejected("too_large", f"the answer would take {len(reply)} bytes; ask for less with `limit`")
        except Rejected as refusal:
            reply = error_reply(refusal)
        except Exception as error:  # noqa: BLE001 (whatever it is, the asker gets an answer and the log the trace)
            reply = error_reply(_fault(error, raw.routing_key))
        if raw.reply_to:
            body, encoding = packed(reply)
            sent = self._publisher.send(
                "", raw.reply_to, body, message_id="", mandatory=False, persistent=False,
                correlation_id=raw.correlation_id or "", content_encoding=encoding,
            )  # fmt: skip
            try:
                await sent
            except BusError as error:
                log.info("reply_lost", reason=str(error))

    async def _read(self, handler: QueryHandler, command: Command) -> dict[str, Any]:
        if isinstance(handler, PreparedQuery):
            handler = await handler.prepared(command)
        try:
            async with self._database.reading() as tx:
                return await handler(tx, command)
        except Exception as error:
            if not is_transient(error):
                raise
        # A connection kept from before the database was restarted fails once, and takes the other old ones with it.
        async with self._database.reading() as tx:
            return await handler(tx, command)


def _fault(error: Exception, routing_key: str | None) -> Rejected:
    if is_transient(error):
        log.warning("database_away", reason=str(error).split("\n")[0], routing_key=routing_key)
        return Rejected("unavailable", "the database is away; try again in a moment")
    log.error("query_failed", routing_key=routing_key, exc_info=error)
    return Rejected("internal", f"the query failed: {type(error).__name__}")


def _refuse_encoding(encoding: str) -> bytes:
    raise Rejected("invalid", f"a reading command travels uncompressed, not as {encoding!r}")
