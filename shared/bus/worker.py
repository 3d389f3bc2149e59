"""The worker runtime: consume commands, handle them by group commit, publish what happened, acknowledge."""

import asyncio
import time
import traceback
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.bus.bodies import unpacked
from shared.bus.commit import (
    BatchHandler,
    GroupCommit,
    HandledElsewhere,
    Handler,
    Outcome,
    SessionMissing,
    error_reply,
    fingerprint,
)
from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.handled import mark_published
from shared.bus.outbox import Outbox
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.bus.topology import DEAD_LETTERS, RETRY_TIERS, commands_queue
from shared.database import Database, is_transient
from shared.errors import BusError, Rejected, Transient, Unavailable, conflict, invalid
from shared.logs import get_logger
from shared.messages import Command, decode_command
from shared.telemetry import (
    BATCH_SECONDS,
    BATCH_SIZE,
    COMMANDS,
    DEAD_LETTERS as DEAD_LETTERED,
    RETRIES,
    UNFINISHED,
    span,
    trace_id,
)

MAX_BATCH = 100
# Enough for several batches to be under way; small enough that a restart gives little back.
PREFETCH = 400
# Batches whose events are being confirmed while the next ones commit.
MAX_UNCONFIRMED_BATCHES = 8
MAX_ATTEMPTS = 6
# How long a command waits for its session's `create_session`, which may still be on its way.
SESSION_PATIENCE = 0.6
log = get_logger()


@dataclass(slots=True)
class Item:
    """A command taken from the broker, and how to answer and acknowledge it."""

    delivery: Delivery
    command: Command
    arrived: float

    @property
    def attempt(self) -> int:
        """How often this command has been tried before, 0 the first time."""
        attempt = self.delivery.headers.get("x-attempt", 0)
        return attempt if isinstance(attempt, int) else 0


class Acknowledger:
    """Acknowledges deliveries in one go up to the oldest that is not done; tags are those of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._done: set[int] = set()
        self._acknowledged = 0

    def done(self, tags: Sequence[int]) -> None:
        """These deliveries are finished with."""
        self._done.update(tags)
        last = self._acknowledged
        while last + 1 in self._done:
            last += 1
            self._done.remove(last)
        if last > self._acknowledged:
            UNFINISHED.dec(last - self._acknowledged)
            self._acknowledged = last
            self._connection.ack(last, multiple=True)


class Worker:
    """Handles the writing commands of some areas until told to stop."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        areas: Sequence[str],
        database: Database,
        publisher: Publisher,
        handlers: Mapping[str, Handler],
        batch_handlers: Mapping[str, BatchHandler],
    ) -> None:
        self._name = name
        self._url = url
        self._areas = areas
        self._database = database
        self._publisher = publisher
        self._commit = GroupCommit(handlers, batch_handlers)
        self._outbox = Outbox(publisher, database)
        self._inbox: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._finishing: set[asyncio.Task[None]] = set()
        self._acknowledger: Acknowledger | None = None
        self.connected = False

    def stop(self) -> None:
        """Take nothing more; `run` returns when what is in hand is done."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Consume until `stop`, reconnecting whenever the broker was away."""
        while not self._stopping:
            try:
                async with await Connection.open(self._url, name=f"{self._name} consumer") as connection:
                    await self._consume(connection)
            except Unavailable as error:
                log.warning("consumer_lost", reason=str(error), retry_s=RECONNECT_SECONDS)
            finally:
                self.connected = False
            if not self._stopping:
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _consume(self, connection: Connection) -> None:
        # Queues are made by the publisher when it connects.
        await self._publisher.wait_connected()
        self._acknowledger = Acknowledger(connection)
        connection.closed.add_done_callback(lambda _: self._wake.set())
        tags = [
            await connection.consume(commands_queue(area), self._on_deliveries, prefetch=PREFETCH)
            for area in self._areas
        ]
        self.connected = True
        log.info("consuming", queues=[commands_queue(area) for area in self._areas])
        try:
            await self._work(connection)
            if self._stopping and not connection.closed.done():
                for tag in tags:
                    await connection.cancel(tag)
                await self._drain()
        finally:
            self.connected = False
            await self._drain()
            UNFINISHED.set(0)
            self._inbox.clear()  # the broker delivers them again
        if connection.closed.done() and not self._stopping:
            raise Unavailable(connection.closed.result())

    async def _drain(self) -> None:
        if self._finishing:
            await asyncio.wait(self._finishing)
        await self._outbox.mark_idle()

    def _on_deliveries(self, deliveries: list[Delivery]) -> None:
        UNFINISHED.inc(len(deliveries))
        now = time.monotonic()
        for delivery in deliveries:
            try:
                self._inbox.append(Item(delivery, decode_command(unpacked(delivery)), now))
            except Rejected as refusal:
                self._start(self._give_up(delivery, refusal, "undecodable"))
        self._wake.set()

    async def _work(self, connection: Connection) -> None:
        while not self._stopping and not connection.closed.done():
            if not self._inbox:
                self._wake.clear()
                try:
                    async with asyncio.timeout(0.2):
                        await self._wake.wait()
                except TimeoutError:
                    await self._outbox.mark_idle()
                continue
            batch = self._next_batch()
            try:
                missing = await self._handle(batch)
            except Exception as error:
                if not is_transient(error):
                    raise
                # The database is away: the batch waits here, unacknowledged, and is tried again.
                log.warning("database_away", reason=_first_line(error), commands=len(batch))
                self._inbox.extendleft(reversed(batch))
                await self._pause(1.0)
                continue
            if missing:
                self._inbox.extendleft(reversed(missing))
                if len(missing) == len(self._inbox):
                    await self._pause(0.05)
            while len(self._finishing) >= MAX_UNCONFIRMED_BATCHES:
                await asyncio.wait(self._finishing, return_when=asyncio.FIRST_COMPLETED)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _next_batch(self) -> list[Item]:
        return [self._inbox.popleft() for _ in range(min(MAX_BATCH, len(self._inbox)))]

    async def _handle(self, batch: list[Item]) -> list[Item]:
        """Commit a batch and begin to publish it; returns the items whose session is still missing.

        Raises only transient database errors, with nothing committed of the items that raise.
        """
        try:
            return await self._commit_and_publish(batch)
        except Exception as error:
            if is_transient(error):
                raise
            if len(batch) > 1:
                log.warning("batch_split", commands=len(batch), reason=_first_line(error))
                missing: list[Item] = []
                for at, item in enumerate(batch):
                    try:
                        missing += await self._handle([item])
                    except Exception as passing:
                        if not is_transient(passing):
                            raise
                        # The rest waits with this one.
                        return missing + batch[at:]
                return missing
            self._start(self._retry_later(batch[0], error))
            return []

    async def _commit_and_publish(self, batch: list[Item]) -> list[Item]:
        started = time.monotonic()
        first: dict[str, Item] = {}
        for item in batch:
            first.setdefault(item.command.message_id, item)
        commands = [item.command for item in first.values()]
        patient = {each for each, item in first.items() if started - item.arrived < SESSION_PATIENCE}
        with span("commit", _traces(batch), commands=len(batch)), self._outbox.marking() as published:
            async with self._database.transaction() as tx:
                await mark_published(tx, published)
                answers = await self._commit.run(tx, commands, patient=patient)
        took = time.monotonic() - started
        by_id = dict(zip(first, answers, strict=True))
        outcomes = [(message_id, answer) for message_id, answer in by_id.items() if isinstance(answer, Outcome)]
        sent = self._outbox.send([outcome for _, outcome in outcomes])
        missing, done = [], []
        for item in batch:
            answer = by_id[item.command.message_id]
            if isinstance(answer, SessionMissing):
                missing.append(item)
                continue
            done.append(item.delivery.tag)
            if item.delivery.reply_to:
                self._outbox.reply(
                    item.delivery.reply_to, item.delivery.correlation_id, _reply_for(item, first, answer)
                )
        if done:
            self._start(self._finish(outcomes, sent, done))
            _observe(batch, by_id, took)
        return missing

    async def _finish(
        self,
        outcomes: list[tuple[str, Outcome]],
        sent: "asyncio.Future[list[None | BaseException]] | None",
        tags: list[int],
    ) -> None:
        acknowledger = self._acknowledger
        await self._outbox.deliver(outcomes, sent)
        if acknowledger:
            acknowledger.done(tags)

    async def _retry_later(self, item: Item, error: Exception) -> None:
        """Put a command that failed into a retry tier; after the last attempt, among the dead letters."""
        attempt = item.attempt + 1
        if isinstance(error, HandledElsewhere):
            self._inbox.appendleft(item)
            self._wake.set()
            return
        permanent = (getattr(getattr(error, "orig", None), "sqlstate", None) or "")[:2] in ("22", "54")
        if permanent or attempt >= MAX_ATTEMPTS:
            code = invalid if permanent else (lambda message: Rejected("internal", message))
            log.error("command_given_up", **_names(item), attempt=attempt, exception=_trace(error))
            await self._give_up(item.delivery, code(f"{type(error).__name__}: {_first_line(error)}"), "failed", attempt)
            return
        wait = error.retry_after if isinstance(error, Transient) else 4.0**attempt
        tier = next((name for seconds, name in RETRY_TIERS.items() if wait <= seconds), RETRY_TIERS[60])
        log.error("command_failed", **_names(item), attempt=attempt, retry=tier, exception=_trace(error))
        RETRIES.labels(item.command.spec.name).inc()
        delivery = item.delivery
        await self._move(delivery, tier, delivery.routing_key, {**delivery.headers, "x-attempt": attempt})

    async def _give_up(self, delivery: Delivery, error: Rejected, kind: str, attempts: int = 1) -> None:
        """Dead-letter a message with the reason, and tell its sender."""
        DEAD_LETTERED.labels(kind).inc()
        log.warning("dead_lettered", routing_key=delivery.routing_key, kind=kind, reason=error.message)
        if delivery.reply_to:
            self._outbox.reply(delivery.reply_to, delivery.correlation_id, error_reply(error))
        headers = {
            **delivery.headers,
            "x-reason": error.message[:1000],
            "x-attempt": attempts,
            "x-original-exchange": delivery.exchange,
            "x-original-routing-key": delivery.routing_key,
        }
        await self._move(delivery, DEAD_LETTERS, delivery.routing_key, headers)

    async def _move(self, delivery: Delivery, exchange: str, routing_key: str, headers: dict[str, object]) -> None:
        acknowledger = self._acknowledger
        while True:
            try:
                await self._publisher.publish(
                    exchange, routing_key, delivery.body, message_id=delivery.message_id, headers=headers,
                    reply_to=delivery.reply_to, correlation_id=delivery.correlation_id,
                    content_encoding=delivery.content_encoding, deadline=10,
                )  # fmt: skip
                break
            except BusError as error:
                log.warning("move_not_confirmed", exchange=exchange, reason=str(error))
                await self._pause(RECONNECT_SECONDS)
                await self._publisher.wait_connected()
        if acknowledger:
            acknowledger.done([delivery.tag])

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("finish_failed", exception=_trace(error))


def _reply_for(item: Item, first: dict[str, Item], outcome: Outcome) -> bytes:
    original = first[item.command.message_id]
    if original is not item and fingerprint(original.command) != fingerprint(item.command):
        return error_reply(conflict(f"message id {item.command.message_id!r} was already used for another command"))
    return outcome.reply


def _observe(batch: list[Item], answers: dict[str, Outcome | SessionMissing], took: float) -> None:
    BATCH_SIZE.observe(len(batch))
    BATCH_SECONDS.observe(took)
    ends: Counter[str] = Counter()
    for item in batch:
        answer = answers[item.command.message_id]
        if isinstance(answer, Outcome):
            COMMANDS.labels(item.command.spec.name, answer.outcome).inc()
            ends[answer.outcome] += 1
    few = batch[:3]
    log.info(
        "batch_committed",
        commands=len(batch),
        names=sorted({item.command.spec.name for item in batch}),
        outcomes=dict(ends),
        ms=round(took * 1000, 2),
        message_ids=[item.command.message_id for item in few],
        session_ids=sorted({item.command.session_id for item in few if item.command.session_id}),
        trace_ids=[trace_id(each) for each in _traces(few)],
    )


def _traces(items: list[Item]) -> list[str]:
    traces = (item.delivery.headers.get("traceparent") for item in items)
    return [each for each in traces if isinstance(each, str)]


def _names(item: Item) -> dict[str, str | None]:
    command = item.command
    return {"command": command.spec.name, "message_id": command.message_id, "session_id": command.session_id}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
