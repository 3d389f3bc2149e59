"""Looks after the pool from outside: what its clients take, whether their chats are still kept, who is left over."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from services.claude_worker.client import processes
from services.claude_worker.pool.pool import Pool
from services.claude_worker.store import retention
from shared.database import Database, is_transient
from shared.logs import get_logger

# How often it is looked what clients take and what the records say of their chats; and for processes without an owner.
LOOK_SECONDS = 3.0
SWEEP_SECONDS = 60.0
# One that is just being closed is given time to go.
GOING_SECONDS = 1.0
log = get_logger()


class Housekeeping:
    """Looks until it is cancelled."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._database = database
        self._orphans = 0
        self._killed = 0
        self._queue: dict[str, int] = {}

    def status(self) -> dict[str, Any]:
        """Processes without an owner when it was last looked, and killed so far; open turns of this worker."""
        return {"orphans": self._orphans, "orphans_killed": self._killed, "queue": self._queue}

    async def run(self, partitions: Callable[[], Collection[int]]) -> None:
        """Look now and then, whatever goes wrong with it; `partitions` gives those that are this worker's."""
        swept = weighed = -SWEEP_SECONDS
        while True:
            try:
                if time.monotonic() - swept >= SWEEP_SECONDS:
                    swept, weighed = time.monotonic(), 0.0
                    await self.sweep()
                since, weighed = weighed, time.monotonic()
                await self._weigh(since)
                await self._follow_records(partitions())
            except Exception as error:
                if is_transient(error):
                    log.warning("database_away", reason=str(error).split("\n")[0])
                else:
                    log.exception("housekeeping_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def sweep(self) -> None:
        """Kill the processes of clients that nobody owns any more."""
        found = await asyncio.to_thread(processes.find_clients)
        if processes.orphans(found, self._pool.homes):
            # Its client may have been on its way out while we looked.
            await asyncio.sleep(GOING_SECONDS)
            found = await asyncio.to_thread(processes.find_clients)
        left = processes.orphans(found, self._pool.homes)
        self._orphans = len(left)
        if left:
            log.error("orphans_killed", pids=[process.pid for process in left])
            self._killed += len(left)
            await asyncio.to_thread(processes.end, left)

    async def _weigh(self, since: float) -> None:
        # What one takes that does nothing changes little; all are looked at after each sweep.
        if pids := self._pool.pids(since):
            self._pool.weigh(await asyncio.to_thread(processes.measure, pids))

    async def _follow_records(self, partitions: Collection[int]) -> None:
        asked = self._pool.idle_conversations()
        async with self._database.reading() as tx:
            self._queue = await retention.count_open(tx, partitions)
            records = await retention.find_chats(tx, asked) if asked else {}
        self._pool.follow(records, asked)
