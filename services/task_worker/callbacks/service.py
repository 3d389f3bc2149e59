"""The background tasks of the task worker that send callbacks, and keep their table small."""

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
    """Delete the callbacks of long ago, until cancelled; every replica may do it at any time."""
    while True:
        try:
            await keep_house(context.database)
        except Exception as error:
            if is_transient(error):
                log.warning("maintenance_waits", reason=str(error).split("\n")[0], retry_s=EXPIRY_SECONDS)
            else:
                log.error("maintenance_failed", exc_info=error, retry_s=EXPIRY_SECONDS)
        await asyncio.sleep(EXPIRY_SECONDS)


async def keep_house(database: Database) -> None:
    """Delete the callbacks that ended a week ago, with their attempts; give up those nobody has sent for a week."""
    for done, step in (("callbacks_expired", store.delete_old), ("callbacks_never_sent", store.give_up_overdue)):
        total, rows = 0, BATCH_ROWS
        while rows == BATCH_ROWS:
            async with database.transaction() as tx:
                rows = await step(tx, KEEP_DAYS, BATCH_ROWS)
            total += rows
            await asyncio.sleep(PAUSE_SECONDS)
        if total:
            log.info(done, rows=total)
