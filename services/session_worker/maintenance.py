"""Housekeeping of the database: the partitions of `events`, and the deletion of expired rows in small batches.

Every replica may do it at any time: each step takes what it finds undone.
"""

import asyncio
from datetime import UTC, datetime, time, timedelta

from services.session_worker import live, mentions, store
from shared.database import Database
from shared.database.housekeeping import at_intervals, in_batches
from shared.logs import get_logger

DAYS_BEFORE, DAYS_AHEAD = 1, 14
PARTITIONS_SECONDS = 3600.0
EXPIRY_SECONDS = 30.0
BATCH_ROWS = 1_000
log = get_logger()


async def maintain(database: Database, keep_events_days: int, keep_audit_days: int) -> None:
    """Keep house until cancelled."""
    partitions_due = 0.0
    clock = asyncio.get_running_loop().time

    async def keep_house() -> None:
        nonlocal partitions_due
        if clock() >= partitions_due:
            await keep_partitions(database, keep_events_days, datetime.now(UTC))
            partitions_due = clock() + PARTITIONS_SECONDS
        await expire_handled(database)
        await expire_live(database)
        await prune_audit(database, datetime.now(UTC) - timedelta(days=keep_audit_days))

    await at_intervals(keep_house, EXPIRY_SECONDS)


async def keep_partitions(database: Database, keep_events_days: int, now: datetime) -> None:
    """Make the partitions of the coming days, drop those past the time events are kept; each in its own transaction."""
    today = now.date()
    oldest = today - timedelta(days=keep_events_days)
    wanted = {today + timedelta(days=n) for n in range(-DAYS_BEFORE, DAYS_AHEAD + 1)}
    async with database.reading() as tx:
        there = await store.partitions.days(tx)
    for day in sorted(wanted - there):
        async with database.transaction() as tx:
            await store.partitions.begin(tx)
            if day not in await store.partitions.days(tx):
                await store.partitions.create(tx, day)
                log.info("partition_made", day=day.isoformat())
    for day in sorted(day for day in there if day < oldest):
        async with database.transaction() as tx:
            await store.partitions.begin(tx)
            await store.partitions.drop(tx, day)
            log.info("partition_dropped", day=day.isoformat())
    stray = datetime.combine(oldest, time.min, UTC)
    await in_batches(database, lambda tx, rows: store.partitions.delete_strays(tx, stray, rows), BATCH_ROWS)


async def expire_handled(database: Database) -> int:
    """Delete the records of messages past their time; returns how many."""
    total = await in_batches(database, lambda tx, rows: store.handled.delete_expired(tx, rows), BATCH_ROWS)
    if total:
        log.info("handled_messages_expired", rows=total)
    return total


async def expire_live(database: Database) -> int:
    """Delete mentions that nobody came for, and the notes of tokens that are past their time; returns how many."""
    kept = live.TOKENS_KEPT
    gone = {
        "mentions": await in_batches(
            database, lambda tx, rows: store.mentions.expire(tx, mentions.KEPT, rows), BATCH_ROWS
        ),
        "resumed_connections": await in_batches(
            database, lambda tx, rows: store.live.expire(tx, "resumed_connections", kept, rows), BATCH_ROWS
        ),
        "revoked_tokens": await in_batches(
            database, lambda tx, rows: store.live.expire(tx, "revoked_tokens", kept, rows), BATCH_ROWS
        ),
    }
    if any(gone.values()):
        log.info("live_expired", **gone)
    return sum(gone.values())


async def prune_audit(database: Database, before: datetime) -> int:
    """Delete the audit log's entries from before a moment; returns how many."""
    total = await in_batches(database, lambda tx, rows: store.audit.prune(tx, before, rows), BATCH_ROWS)
    if total:
        log.info("audit_pruned", rows=total)
    return total
