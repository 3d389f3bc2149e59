"""Epochs of the event log: is the stream still the one whose events are recorded, and what if it is not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from uuid import NAMESPACE_OID, uuid4, uuid5

from services.session_worker import store
from services.session_worker.event_rows import row_of
from services.session_worker.store.events import EventLog
from shared.bus.tail import Start, last_offset, read_range
from shared.database import Database
from shared.logs import get_logger
from shared.messages import Event, rfc3339
from shared.messages.system import EventLogRecreated

RETRY_SECONDS = 1.0
# How often a stream must be found shorter than what was copied from it, where nothing else tells.
LOOKS = 3
log = get_logger()


class EpochChanged(Exception):
    """Another recorder has begun a new epoch: everything starts anew from what the database says."""


class Epochs:
    """Compares the stream at `url` with what the database says of it; `publish` returns when an event is confirmed."""

    def __init__(self, *, url: str, name: str, database: Database, publish: Callable[[Event], Awaitable[None]]) -> None:
        self._url = url
        self._name = name
        self._database = database
        self._publish = publish

    async def place(self) -> tuple[EventLog, Start]:
        """How far the stream is copied, and where to go on in it; a new epoch when it is another stream.

        Waits while the stream is empty and should not be. Raises `EpochChanged`, `BusError`, TimeoutError and database
        errors.
        """
        async with self._database.reading() as tx:
            recorded = await store.events.event_log(tx)
        if not recorded.announced:
            await self._announce(recorded)
        offset = recorded.checkpoint - recorded.base
        if offset < 0:
            return recorded, "first"
        if await self._is_same_stream(recorded, offset):
            return recorded, offset + 1
        return await self._begin(recorded), "first"

    async def _is_same_stream(self, recorded: EventLog, offset: int) -> bool:
        """Whether the stream is the one whose events up to `offset` are recorded.

        The event at the checkpoint, or the last one if the stream is shorter, must be the one recorded there. Where
        nothing is recorded to compare with, a stream that stays shorter than what was copied from it is another one.
        """
        shorter = 0
        while shorter < LOOKS:
            newest = await last_offset(self._url, name=f"{self._name} recorder")
            if newest >= 0:
                same = await self._compare(recorded, min(newest, offset))
                if same is not None:
                    return same
                if newest >= offset:
                    return True
                shorter += 1
            # Else it is empty, or slow to answer: either way there is nothing to record yet.
            await asyncio.sleep(RETRY_SECONDS)
        return False

    async def _compare(self, recorded: EventLog, offset: int) -> bool | None:
        """Whether the stream's event at an offset is the one recorded for it; None when either is not there."""
        async with self._database.reading() as tx:
            message_id = await store.events.message_at(tx, recorded.base + offset)
        if message_id is None:
            return None
        reading = read_range(self._url, name=f"{self._name} recorder", after=offset - 1, until=offset)
        async with aclosing(reading):
            async for events in reading:
                row = row_of(events[0], recorded)
                return row is not None and row.message_id == message_id
        return None

    async def _begin(self, old: EventLog) -> EventLog:
        async with self._database.transaction() as tx:
            if not await store.events.recreate(tx, old, str(uuid4())):
                raise EpochChanged
            new = await store.events.event_log(tx)
        log.error(
            "event_log_recreated",
            epoch=new.epoch,
            base=new.base,
            hint="the broker's stream is not the one recorded so far; what was not copied of that one is lost",
        )
        await self._announce(new)
        return new

    async def _announce(self, new: EventLog) -> None:
        """Tell everybody of the epoch; again after a crash, with the same id."""
        event = EventLogRecreated(
            message_id=str(uuid5(NAMESPACE_OID, f"switchyard event log {new.epoch}")),
            timestamp=rfc3339(new.began),
            sender_agent_id=self._name,
            priority="critical",
            epoch=new.epoch,
            base=new.base,
        )
        await self._publish(event)
        async with self._database.transaction() as tx:
            await store.events.set_announced(tx, new)
