"""Housekeeping: what is old is deleted now and then, in small batches, by every replica that comes by.

Here since the workers that own tables keep house in the same way.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from shared.database import Database, Transaction, is_transient
from shared.logs import get_logger

# Between two transactions, so that it never has the disk to itself.
PAUSE_SECONDS = 0.05
log = get_logger()


async def at_intervals(work: Callable[[], Awaitable[object]], seconds: float) -> NoReturn:
    """Do some work again and again, so many seconds apart, until cancelled; what fails waits for its next turn."""
    while True:
        try:
            await work()
        except Exception as error:
            if is_transient(error):
                log.warning("maintenance_waits", reason=str(error).split("\n")[0], retry_s=seconds)
            else:
                log.error("maintenance_failed", exc_info=error, retry_s=seconds)
        await asyncio.sleep(seconds)


async def in_batches(database: Database, step: Callable[[Transaction, int], Awaitable[int]], rows: int) -> int:
    """Do something to up to `rows` rows in a transaction of its own, until there were fewer; returns how many in all.

    Few rows, so that nobody waits for their locks. `step` gets the number, and returns how many there were.
    """
    total, taken = 0, rows
    while taken == rows:
        async with database.transaction() as tx:
            taken = await step(tx, rows)
        total += taken
        await asyncio.sleep(PAUSE_SECONDS)
    return total
