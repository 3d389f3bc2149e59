"""Forgets old output of agents' runs, and what was found in it; the runs themselves, and the counts, stay."""

import asyncio

from services.task_worker.store import retention
from shared.bus.service import Background, Context
from shared.database import Database, is_transient
from shared.logs import get_logger

EXPIRY_SECONDS = 300.0
# Few rows a transaction, and a pause between: as callbacks are forgotten.
BATCH_ROWS = 2_000
PAUSE_SECONDS = 0.05
log = get_logger()


def expire_output(days: float) -> Background:
    """Delete what is older than so many days, until cancelled; every replica may do it at any time."""

    async def expire(context: Context) -> None:
        while True:
            try:
                await forget_old(context.database, days)
            except Exception as error:
                if is_transient(error):
                    log.warning("maintenance_waits", reason=str(error).split("\n")[0], retry_s=EXPIRY_SECONDS)
                else:
                    log.error("maintenance_failed", exc_info=error, retry_s=EXPIRY_SECONDS)
            await asyncio.sleep(EXPIRY_SECONDS)

    return expire


async def forget_old(database: Database, days: float, batch: int = BATCH_ROWS) -> dict[str, int]:
    """Delete lines, extractions and code blocks older than so many days; how many of each that were."""
    totals = {}
    for what, step in (
        ("lines", retention.delete_lines),
        ("extractions", retention.delete_extractions),
        ("code_blocks", retention.delete_blocks),
    ):
        total, rows = 0, batch
        while rows == batch:
            async with database.transaction() as tx:
                rows = await step(tx, days, batch)
            total += rows
            await asyncio.sleep(PAUSE_SECONDS)
        totals[what] = total
    if any(totals.values()):
        log.info("output_expired", **totals)
    return totals
