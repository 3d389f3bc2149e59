"""SQL of the partitions of `events`, one for each day (UTC)."""

import re
from datetime import date, datetime, timedelta

from sqlalchemy import text

from shared.database import Transaction

_NAME = re.compile(r"events_(\d{8})")
# Any number will do, as long as nothing else in this database takes the same advisory lock.
_LOCK = 7_317_002

# One changer at a time; and whoever waits for a lock on `events` holds up everybody behind, so give up soon.
_BEGIN = text(f"select set_config('lock_timeout', '2s', true), pg_advisory_xact_lock({_LOCK})")

# The partitions there are, from the catalogue.
_PARTITIONS = text("""
    select relname from pg_inherits join pg_class on pg_class.oid = inhrelid where inhparent = 'events'::regclass
""")

# Events of no known day that are past the time events are kept; there are few, if any.
_DELETE_STRAYS = text("""
    delete from events_default where ctid = any(array(
        select ctid from events_default where timestamp < :before limit :limit
    ))
""")


async def begin(tx: Transaction) -> None:
    """Keep others from changing partitions until the transaction ends."""
    await tx.execute(_BEGIN)


async def days(tx: Transaction) -> set[date]:
    """The days that have a partition."""
    names = (await tx.execute(_PARTITIONS)).scalars()
    return {datetime.strptime(found[1], "%Y%m%d").date() for name in names if (found := _NAME.fullmatch(name))}


async def create(tx: Transaction, day: date) -> None:
    """Make a day's partition, with the day's events that have landed in the default partition, if any."""
    name = f"events_{day:%Y%m%d}"
    start, end = f"'{day} 00:00:00+00'", f"'{day + timedelta(days=1)} 00:00:00+00'"
    await tx.execute(text(f"create table {name} (like events including defaults including constraints)"))
    # Attaching refuses a day of which the default partition has rows.
    await tx.execute(
        text(f"""
            with moved as (
                delete from events_default where timestamp >= {start} and timestamp < {end} returning *
            )
            insert into {name} select * from moved
        """)  # noqa: S608
    )
    await tx.execute(text(f"alter table events attach partition {name} for values from ({start}) to ({end})"))


async def drop(tx: Transaction, day: date) -> None:
    """Drop a day's partition and its events."""
    await tx.execute(text(f"drop table if exists events_{day:%Y%m%d}"))


async def delete_strays(tx: Transaction, before: datetime, limit: int) -> int:
    """Delete up to `limit` events before a moment from the default partition; returns how many there were."""
    return (await tx.execute(_DELETE_STRAYS, {"before": before, "limit": limit})).rowcount
