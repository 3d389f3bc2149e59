"""The recorder: copies the event stream into `events`, each event once, in the stream's order.

Several replicas may run it. All of them follow the stream, and whoever writes a batch moves the checkpoint in the same
transaction, from the very place it believes it to be: of two, one finds it moved, drops what is recorded already, and
from then on only looks after what the other leaves lying. There is no lease that could lapse too late and no lock that
a connection pooler could lose; a standby costs the reading of the stream.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError

from services.session_worker import store
from services.session_worker.epochs import EpochChanged, Epochs
from services.session_worker.event_rows import EventRow, foreign_row, row_of
from services.session_worker.presences import told_of
from services.session_worker.store.events import EventLog
from shared.bus.tail import Start, StreamEvent, Tail
from shared.database import Database, Transaction, is_transient
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages import Event

BATCH_EVENTS = 100
BATCH_BYTES = 8_000_000
# How long an event may wait for others to share its transaction.
LINGER_SECONDS = 0.1
# How long a standby leaves an event to the other recorder.
STANDBY_SECONDS = 2.0
# What may wait in memory; the broker keeps the rest.
MAX_WAITING_EVENTS = 2_000
MAX_WAITING_BYTES = 32_000_000
RETRY_SECONDS = 1.0

RECORDED = Counter("switchyard_events_recorded_total", "Events copied from the stream into the database")
SKIPPED = Counter("switchyard_events_skipped_total", "Messages in the stream that could not be kept as events")
CHECKPOINT = Gauge("switchyard_recorder_cursor", "The last cursor copied into the database")
log = get_logger()


class _Waiting(NamedTuple):
    arrived: float
    event: StreamEvent


class Recorder:
    """Follows the stream at `url`, writes to `database`; `publish` sends an event and returns when it is confirmed."""

    def __init__(
        self,
        *,
        url: str,
        name: str,
        database: Database,
        publish: Callable[[Event], Awaitable[None]],
        observe: Callable[[Sequence[StreamEvent]], None] = lambda events: None,
    ) -> None:
        """`observe` is given the events that were recorded, each once over all recorders."""
        self._url = url
        self._name = f"{name} recorder"
        self._database = database
        self._observe = observe
        self._epochs = Epochs(url=url, name=name, database=database, publish=publish)
        self._log = EventLog("", 0, -1, datetime.now(UTC), True)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Record until cancelled, whatever broker and database do."""
        while True:
            try:
                await self._record_from_checkpoint()
            except EpochChanged:
                log.info("recorder_restarts", reason="another recorder found a new stream")
            except Exception as error:  # noqa: BLE001 (logged; recording must never end)
                self._complain(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _record_from_checkpoint(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        start = await self._start()
        tail = Tail(self._url, name=self._name, on_events=self._take, start=start, on_reconnect=self._start_again)
        tasks = [asyncio.ensure_future(tail.run()), asyncio.ensure_future(self._write())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _start(self) -> Start:
        """Where to go on in the stream."""
        self._log, start = await self._epochs.place()
        return start

    async def _start_again(self) -> Start:
        """`_start` after a lost connection, once everything that arrived before is written."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)
        return await self._start()

    async def _take(self, events: list[StreamEvent]) -> None:
        now = asyncio.get_running_loop().time()
        self._waiting.extend(_Waiting(now, event) for event in events)
        self._waiting_bytes += sum(len(event.body) for event in events)
        async with self._changed:
            self._changed.notify_all()
            # While this waits, nothing is acknowledged, and the broker stops sending. A stream's acks are no
            # more than that: what a crash loses here is read again from the checkpoint.
            await self._changed.wait_for(
                lambda: len(self._waiting) < MAX_WAITING_EVENTS and self._waiting_bytes < MAX_WAITING_BYTES
            )

    async def _drop(self, count: int) -> None:
        for _ in range(count):
            self._waiting_bytes -= len(self._waiting.popleft().event.body)
        async with self._changed:
            self._changed.notify_all()

    async def _write(self) -> None:
        leads = True
        while True:
            await self._wait_for_batch(leads)
            try:
                if not leads:
                    await self._drop_recorded()
                    if not self._waiting or self._age() < STANDBY_SECONDS:
                        continue
                leads = await self._record(self._next_batch())
            except DBAPIError as error:
                self._complain(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _wait_for_batch(self, leads: bool) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._waiting))
            patience = (LINGER_SECONDS if leads else STANDBY_SECONDS) - self._age()
            try:
                async with asyncio.timeout(max(0, patience)):
                    await self._changed.wait_for(lambda: leads and len(self._waiting) >= BATCH_EVENTS)
            except TimeoutError:
                return

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._waiting[0].arrived

    def _next_batch(self) -> list[StreamEvent]:
        batch: list[StreamEvent] = []
        size = 0
        for _, event in self._waiting:
            size += len(event.body)
            if batch and (len(batch) == BATCH_EVENTS or size > BATCH_BYTES):
                break
            batch.append(event)
        return batch

    async def _record(self, batch: list[StreamEvent]) -> bool:
        """Write a batch and move the checkpoint; False when another recorder has moved it meanwhile."""
        rows = [(event, row) for event in batch if (row := row_of(event, self._log)) is not None]
        checkpoint = self._log.base + batch[-1].offset
        try:
            async with self._database.transaction() as tx:
                moved = await store.events.advance(tx, self._log, checkpoint)
                if moved and rows:
                    await self._insert(tx, rows)
        except DBAPIError as error:
            if not _is_fault_of_data(error):
                raise
            async with self._database.transaction() as tx:
                moved = await store.events.advance(tx, self._log, checkpoint)
                if moved:
                    rows = [(event, row) for event, row in rows if await self._record_alone(tx, event, row)]
        if not moved:
            await self._drop_recorded()
            return False
        self._log = self._log._replace(checkpoint=checkpoint)
        await self._drop(len(batch))
        self._observe([event for event, _ in rows])
        CHECKPOINT.set(checkpoint)
        RECORDED.inc(len(rows))
        if skipped := len(batch) - len(rows):
            SKIPPED.inc(skipped)
            kept = {event.offset for event, _ in rows}
            log.warning("events_skipped", offsets=[event.offset for event in batch if event.offset not in kept])
        log.debug("events_recorded", events=len(rows), cursor=checkpoint)
        return True

    async def _insert(self, tx: Transaction, rows: Sequence[tuple[StreamEvent, EventRow]]) -> None:
        await store.events.insert_events(tx, [row.text for _, row in rows])
        if told := told_of((event for event, _ in rows), self._log.base):
            await store.presences.save_presences(tx, told)

    async def _record_alone(self, tx: Transaction, event: StreamEvent, row: EventRow) -> bool:
        """Write one event whose batch was refused: as it says it is, else as a foreign one, else not at all."""
        for attempt in (row, foreign_row(event, self._log)):
            if attempt is None:
                break
            try:
                async with tx.begin_nested():
                    await self._insert(tx, [(event, attempt)])
                return True
            except DBAPIError as error:
                if not _is_fault_of_data(error):
                    raise
                log.warning("event_refused", offset=event.offset, reason=str(error.orig))
        return False

    async def _drop_recorded(self) -> None:
        async with self._database.reading() as tx:
            recorded = await store.events.event_log(tx)
        if recorded.epoch != self._log.epoch:
            raise EpochChanged
        self._log = recorded
        last = recorded.checkpoint - recorded.base
        await self._drop(sum(1 for _, event in self._waiting if event.offset <= last))

    def _complain(self, error: Exception) -> None:
        if isinstance(error, BusError | TimeoutError) or is_transient(error):
            log.warning("recorder_waits", reason=str(error).split("\n")[0] or "timed out", retry_s=RETRY_SECONDS)
        else:
            log.error("recorder_failed", exc_info=error, retry_s=RETRY_SECONDS)


def _is_fault_of_data(error: DBAPIError) -> bool:
    """Whether PostgreSQL refused what an event holds: its text, its values, or its size."""
    return (getattr(error.orig, "sqlstate", None) or "")[:2] in ("22", "23", "54")
