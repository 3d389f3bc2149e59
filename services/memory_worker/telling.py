"""Telling of rapid updates together: the first at once, those within 500 ms after it by one event when that is over."""

import asyncio
import time
from datetime import datetime

from services.memory_worker import deltas
from services.memory_worker.store import tellings as store
from shared.bus.replies import Reply
from shared.bus.service import Context
from shared.bus.topology import COMMANDS
from shared.database import Transaction, is_transient
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages import Command, Event, encode_command, new_id, spec_of
from shared.messages.memory import MemoryUpdate

# A look costs a tenth of a millisecond, so the event comes within a quarter of a second of its time.
LOOK_SECONDS = 0.2
# How long a published command may take before another one is published for the same memories.
PATIENCE_SECONDS = 0.5
TOLD_AT_ONCE = 500
log = get_logger()


async def tell_memory_updates(tx: Transaction, command: Command) -> Reply:
    """Tell of up to 500 memories whose event is due, those due first; sessions that somebody writes to come later.

    Each event is stamped as that of the last command it stands for.
    """
    events: list[Event] = []
    for told in await store.tell(tx, TOLD_AT_ONCE):
        content = str(told.memory.content)
        delta = deltas.FORGOTTEN if told.was_forgotten else deltas.between(told.told_content, content)
        events.append(
            MemoryUpdate(
                session_id=told.memory.session_id,
                context_id=told.memory.session_id,
                exchange=told.memory,
                count=told.memory.version - told.told,
                delta=delta.patch,
                delta_omitted=delta.omitted,
                **told.cause,
            )
        )
    return Reply({"told": len(events)}, events, stamped=True)


async def tell_in_time(context: Context) -> None:
    """Publish `tell_memory_updates` whenever a memory's event is due, until cancelled.

    What is due stands in the table, so whatever a worker left behind when it was killed is told by the next.
    """
    asked: datetime | None = None
    asked_at = 0.0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            async with context.database.reading() as tx:
                due = await store.oldest_due(tx)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("tellings_not_looked_for", reason=str(error).split("\n")[0])
            continue
        if due is None or (due == asked and time.monotonic() - asked_at < PATIENCE_SECONDS):
            continue
        message_id = new_id()
        body = encode_command("tell_memory_updates", {}, message_id=message_id, sender_agent_id="system")
        await context.publisher.wait_connected()
        try:
            await context.publisher.publish(
                COMMANDS, spec_of("tell_memory_updates").routing_key, body, message_id=message_id
            )
        except BusError as error:
            log.warning("telling_not_published", reason=str(error))
            continue
        asked, asked_at = due, time.monotonic()
