"""The background tasks of the task worker that send callbacks, and keep their table small."""

from functools import partial

from services.task_worker.callbacks import store
from services.task_worker.callbacks.post import tls_context
from services.task_worker.callbacks.sender import Sender
from services.task_worker.callbacks.signing import Signer
from services.task_worker.callbacks.targets import resolve
from shared.bus.service import Background, Context
from shared.database import Database
from shared.database.housekeeping import at_intervals, in_batches
from shared.logs import get_logger
from shared.targets import Allowed

KEEP_DAYS = 7
EXPIRY_SECONDS = 60.0
BATCH_ROWS = 1_000
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
    await at_intervals(partial(keep_house, context.database), EXPIRY_SECONDS)


async def keep_house(database: Database) -> None:
    """Delete the callbacks that ended a week ago, with their attempts; give up those nobody has sent for a week."""
    gone = {
        "callbacks_expired": await in_batches(
            database, lambda tx, rows: store.delete_old(tx, KEEP_DAYS, rows), BATCH_ROWS
        ),
        "callbacks_never_sent": await in_batches(
            database, lambda tx, rows: store.give_up_overdue(tx, KEEP_DAYS, rows), BATCH_ROWS
        ),
    }
    for what, rows in gone.items():
        if rows:
            log.info(what, rows=rows)
