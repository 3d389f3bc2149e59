"""The worker runtime: consume commands, handle them by group commit, publish what happened, acknowledge."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from shared.bus.batch_log import observe
from shared.bus.bodies import unpacked
from shared.bus.commit import GroupCommit, HandledElsewhere, Outcome
from shared.bus.connection import Connection
from shared.bus.failures import first_line, give_up, retry_later, whole_trace
from shared.bus.frames import Delivery
from shared.bus.handled import mark_published
from shared.bus.inbox import LOOK_AGAIN_SECONDS, MAX_BATCH, Inbox, is_patient
from shared.bus.items import Acknowledger, Item, traceparents
from shared.bus.outbox import Confirms, Outbox
from shared.bus.parking import Wait
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.bus.repetitions import fingerprint, refusal_of_another
from shared.bus.replies import BatchHandler, Handler, SessionMissing
from shared.bus.sharing import Sharing
from shared.bus.topology import commands_queue
from shared.bus.unconfirmed import tell_unconfirmed
from shared.bus.waiting import Waiting
from shared.database import Database, is_transient
from shared.errors import Rejected, Unavailable, invalid
from shared.logs import get_logger
from shared.messages import Command, decode_command
from shared.telemetry import span, well_formed

# Enough for several batches to be under way; small enough that a restart gives little back.
BATCHES_AHEAD = 4
# Batches whose events are being confirmed while the next ones commit.
MAX_UNCONFIRMED_BATCHES = 8
log = get_logger()


class Worker:
    """Handles the writing commands of some areas, or of some queues, until told to stop.

    `ordered`: the queues are partitions, which another takes over. What this one has taken and not begun goes back
    to their heads with the connection, and nothing of it comes before that to whoever is next.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        areas: Sequence[str] = (),
        queues: Sequence[str] = (),
        database: Database,
        publisher: Publisher,
        handlers: Mapping[str, Handler],
        batch_handlers: Mapping[str, BatchHandler],
        sharing: Sharing | None = None,
        ordered: bool = False,
        heartbeat: int = 10,
        on_committed: Callable[[Sequence[Command]], None] | None = None,
    ) -> None:
        """`on_committed` is told of commands whenever they, or records of them, are committed."""
        sharing = sharing or Sharing()
        self._name = name
        self._url = url
        self._queues = [*(commands_queue(area) for area in areas), *queues]
        self._ordered = ordered
        self._heartbeat = heartbeat
        self._on_committed = on_committed
        self._database = database
        self._publisher = publisher
        self._commands = frozenset(handlers) | frozenset(batch_handlers)
        self._commit = GroupCommit(handlers, batch_handlers, sharing)
        self._outbox = Outbox(publisher, database)
        self._inbox = Inbox(sharing.apart, sharing.at_once)
        self._prefetch = BATCHES_AHEAD * sharing.at_once
        self._waiting = Waiting(url, name=name, publisher=publisher, resume=self._resume)
        self._wake = asyncio.Event()
        self._stopping = False
        self._finishing: set[asyncio.Task[None]] = set()
        self._acknowledger: Acknowledger
        # Something that was taken will never be acknowledged.
        self._stuck = False
        self.connected = False
        self.callbacks_owed = asyncio.Event()

    def stop(self) -> None:
        """Take nothing more; `run` returns when what is in hand is done."""
        self._stopping = True
        self._wake.set()

    async def hear_wakes(self) -> None:
        """Hear, until cancelled, what other replicas have for commands that are parked here."""
        await self._waiting.hear()

    async def tell_unconfirmed(self) -> None:
        """Publish, until cancelled, the events of commands that had waited at a worker which has died."""
        await tell_unconfirmed(self._database, self._publisher, self._outbox)

    async def run(self) -> None:
        """Consume until `stop`, reconnecting whenever the broker was away."""
        while not self._stopping:
            try:
                async with await Connection.open(
                    self._url, name=f"{self._name} consumer", heartbeat=self._heartbeat
                ) as connection:
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
        self._stuck = False
        connection.closed.add_done_callback(lambda _: self._wake.set())
        tags = [await connection.consume(queue, self._on_deliveries, prefetch=self._prefetch) for queue in self._queues]
        self.connected = True
        log.info("consuming", queues=self._queues)
        try:
            await self._work(connection)
            if self._stopping and not connection.closed.done():
                for tag in () if self._ordered else tags:
                    await connection.cancel(tag)
                await self._answer_parked()
                await self._drain()
        except asyncio.CancelledError:
            # Nobody waits for the broker any more; the next worker finds what is not acknowledged.
            for task in self._finishing:
                task.cancel()
            raise
        finally:
            self.connected = False
            await self._drain()
            self._acknowledger.forget()
            self._inbox.clear()
            self._waiting.clear()
        if not self._stopping:
            raise Unavailable(connection.closed.result() if connection.closed.done() else "it was given back for a bug")

    async def _drain(self) -> None:
        if self._finishing:
            await asyncio.wait(self._finishing)
        await self._outbox.mark_idle()

    def _on_deliveries(self, deliveries: list[Delivery]) -> None:
        self._acknowledger.taken(len(deliveries))
        for delivery in deliveries:
            try:
                command = decode_command(unpacked(delivery), well_formed(delivery.traceparent))
                if command.spec.name not in self._commands:
                    raise invalid(
                        f"{command.spec.name!r} was published as {delivery.routing_key!r}, where nobody runs it"
                    )
                self._inbox.add(Item(delivery, command))
            except Rejected as refusal:
                self._start(self._refuse(delivery, refusal))
        self._wake.set()

    async def _work(self, connection: Connection) -> None:
        while not self._stopping and not self._stuck and not connection.closed.done():
            batch = self._inbox.next_batch()
            if not batch:
                self._wake.clear()
                try:
                    async with asyncio.timeout(LOOK_AGAIN_SECONDS if self._inbox.waits_for_sessions else 0.2):
                        await self._wake.wait()
                except TimeoutError:
                    await self._outbox.mark_idle()
                continue
            try:
                missing = await self._handle(batch)
            except Exception as error:
                if not is_transient(error):
                    raise
                # The database is away: the batch waits here, unacknowledged, and is tried again.
                log.warning("database_away", reason=first_line(error), commands=len(batch))
                self._inbox.put_back(batch)
                await asyncio.sleep(1)
                continue
            self._inbox.set_aside(missing)
            while len(self._finishing) >= MAX_UNCONFIRMED_BATCHES:
                await asyncio.wait(self._finishing, return_when=asyncio.FIRST_COMPLETED)

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
                log.warning("batch_split", commands=len(batch), reason=first_line(error))
                missing: list[Item] = []
                for at, item in enumerate(batch):
                    try:
                        missing += await self._handle([item])
                    except Exception as passing:
                        if not is_transient(passing):
                            raise
                        self._inbox.put_back(batch[at:])
                        break
                return missing
            self._start(self._fail(batch[0], error))
            return []

    async def _commit_and_publish(self, batch: list[Item]) -> list[Item]:
        started = time.monotonic()
        first: dict[str, Item] = {}
        for item in batch:
            first.setdefault(item.command.message_id, item)
        commands = [item.command for item in first.values()]
        patient = {each for each, item in first.items() if is_patient(item, started)}
        waiting = frozenset() if self._stopping else self._waiting.may_wait(first)
        parked = {item.command.message_id for item in batch if item.parked}
        heard = self._waiting.heard()
        with span("commit", traceparents(batch), commands=len(batch)), self._outbox.marking() as published:
            async with self._database.transaction() as tx:
                await mark_published(tx, published)
                answers = await self._commit.run(tx, commands, patient=patient, waiting=waiting, parked=parked)
        took = time.monotonic() - started
        missed = self._waiting.heard_since(heard)
        by_id = dict(zip(first, answers, strict=True))
        outcomes = [(message_id, answer) for message_id, answer in by_id.items() if isinstance(answer, Outcome)]
        sent = self._outbox.send([outcome for _, outcome in outcomes])
        if any(outcome.callbacks for _, outcome in outcomes):
            self.callbacks_owed.set()
        self._waiting.committed(batch, by_id)
        if self._on_committed is not None:
            self._on_committed(commands)
        missing, done = [], []
        for item in batch:
            answer = by_id[item.command.message_id]
            if isinstance(answer, SessionMissing):
                missing.append(item)
                continue
            if not item.parked:
                done.append(item.delivery.tag)
            if isinstance(answer, Wait):
                self._waiting.park(item, answer, missed)
                continue
            if item.delivery.reply_to:
                self._outbox.reply(
                    item.delivery.reply_to, item.delivery.correlation_id, _reply_for(item, first, answer)
                )
        if outcomes or done:
            self._start(self._finish(outcomes, sent, done))
            observe(batch, by_id, took)
        return missing

    def _resume(self, items: list[Item]) -> None:
        if items:
            self._inbox.put_back(items)
            self._wake.set()

    async def _answer_parked(self) -> None:
        """Tell those who wait that there is nothing: this worker stops."""
        parked = [*self._inbox.take_parked(), *self._waiting.take_all()]
        for at in range(0, len(parked), MAX_BATCH):
            try:
                await self._handle(parked[at : at + MAX_BATCH])
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("parked_not_answered", reason=first_line(error), commands=len(parked) - at)
                return

    async def _finish(self, outcomes: list[tuple[str, Outcome]], sent: Confirms | None, tags: list[int]) -> None:
        acknowledger = self._acknowledger
        await self._outbox.deliver(outcomes, sent)
        acknowledger.done(tags)

    async def _fail(self, item: Item, error: Exception) -> None:
        if isinstance(error, HandledElsewhere):
            # Its record is there now.
            self._inbox.put_back([item])
            self._wake.set()
            return
        acknowledger = self._acknowledger
        await retry_later(item, error, publisher=self._publisher, outbox=self._outbox)
        if not item.parked:
            acknowledger.done([item.delivery.tag])

    async def _refuse(self, delivery: Delivery, refusal: Rejected) -> None:
        acknowledger = self._acknowledger
        await give_up(delivery, refusal, "undecodable", publisher=self._publisher, outbox=self._outbox)
        acknowledger.done([delivery.tag])

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # A bug. What was taken and not acknowledged goes back with the connection, else it would block the rest.
            log.error("finish_failed", exception=whole_trace(error))
            self._stuck = True
            self._wake.set()


def _reply_for(item: Item, first: dict[str, Item], outcome: Outcome) -> bytes:
    original = first[item.command.message_id]
    if original is item:
        return outcome.reply
    return refusal_of_another(item.command, original.command.caller, fingerprint(original.command)) or outcome.reply
