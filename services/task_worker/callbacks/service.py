"""The background tasks of the task worker that send callbacks, and delete those that ended a week ago."""

import asyncio

from services.task_worker.callbacks import store
from services.task_worker.callbacks.post import tls_context
from services.task_worker.callbacks.sender import Sender
from services.task_worker.callbacks.signing import Signer
from services.task_worker.callbacks.targets import resolve
from shared.bus.service import Background, Context
from shared.database import Database, is_transient
from shared.logs import get_logger
from shared.targets import Allowed

KEEP_DAYS = 7
EXPIRY_SECONDS = 60.0
# Few rows a transaction, and a pause between: as the session worker keeps house.
BATCH_ROWS = 1_000
PAUSE_SECONDS = 0.05
log = get_logger()


def send_callbacks(signer: Signer, allowed: Allowed) -> Background:
    """Send what is owed."""

    async def send(context: Context) -> None:
        # Connections of its own: commands must not wait for callbacks, nor these for them.
        url = context.settings.database_url.get_secret_value()
        database = Database(url, name=f"{context.name} callbacks", size=3)
        sender = Sender(database, signer, allowed, resolve=resolve, tls=tls_context(), owed=context.callbacks_owed)
        try:
            await sender.run()
        finally:
            await database.close()

    return send


async def expire_callbacks(context: Context) -> None:
    """Delete the callbacks of long ago, until cancelled. Every replica may do it at any time."""
    while True:
        try:
            await delete_old(context.database)
        except Exception as error:
            if is_transient(error):
                log.warning("maintenance_waits", reason=str(error).split("\n")[0], retry_s=EXPIRY_SECONDS)
            else:
                log.error("maintenance_failed", exc_info=error, retry_s=EXPIRY_SECONDS)
        await asyncio.sleep(EXPIRY_SECONDS)


async def delete_old(database: Database) -> int:
    """Delete the callbacks that ended a week ago, with their attempts; returns how many."""
    total, deleted = 0, BATCH_ROWS
    while deleted == BATCH_ROWS:
        async with database.transaction() as tx:
            deleted = await store.delete_old(tx, KEEP_DAYS, BATCH_ROWS)
        total += deleted
        await asyncio.sleep(PAUSE_SECONDS)
    if total:
        log.info("callbacks_expired", rows=total)
    return total
