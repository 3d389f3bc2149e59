"""Forgets old output of agents' runs, and what was found in it; the runs themselves, and the counts, stay."""

from functools import partial

from services.task_worker.store import retention
from shared.bus.service import Background, Context
from shared.database import Database
from shared.database.housekeeping import at_intervals, in_batches
from shared.logs import get_logger

EXPIRY_SECONDS = 300.0
BATCH_ROWS = 2_000
log = get_logger()


def expire_output(days: float) -> Background:
    """Delete what is older than so many days, until cancelled; every replica may do it at any time."""

    async def expire(context: Context) -> None:
        await at_intervals(partial(forget_old, context.database, days), EXPIRY_SECONDS)

    return expire


async def forget_old(database: Database, days: float, batch: int = BATCH_ROWS) -> dict[str, int]:
    """Delete lines, extractions and code blocks older than so many days; how many of each that were."""
    totals = {
        "lines": await in_batches(database, lambda tx, rows: retention.delete_lines(tx, days, rows), batch),
        "extractions": await in_batches(database, lambda tx, rows: retention.delete_extractions(tx, days, rows), batch),
        "code_blocks": await in_batches(database, lambda tx, rows: retention.delete_blocks(tx, days, rows), batch),
    }
    if any(totals.values()):
        log.info("output_expired", **totals)
    return totals
