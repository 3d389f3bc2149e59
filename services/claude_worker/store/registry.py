"""SQL of who lives and who runs which partition, by the database's clock alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.database import Transaction
from shared.errors import SwitchyardError
from shared.messages import encode
from shared.messages.partitions import PARTITIONS

# Who has not been seen for so long is dead, and what was his is free.
LEASE_SECONDS = 8.0


class Ownership(NamedTuple):
    """Who writes: what he writes counts only while the partition is his in this epoch."""

    partition: int
    owner: str
    epoch: int


class View(NamedTuple):
    """What a worker has after a beat: its partitions with their epochs, and how many it should have.

    `to_stop` are chats of these in which something is open though their bots are switched off.
    """

    epochs: dict[int, int]
    share: int
    to_stop: Sequence[tuple[int, str, str]] = ()


# One beat at a time: shares are counted, then taken.
_TURN = text("select pg_advisory_xact_lock(748302915)")

# By the primary key.
_SEEN = text("""
    insert into chat_workers (worker_id, leaving, status) values (:worker_id, :leaving, cast(:status as json))
    on conflict (worker_id) do update set seen = now(), leaving = :leaving, status = cast(:status as json)
""")

# The table holds the living, and is read whole.
_BURY = text("delete from chat_workers where seen < now() - interval '1 minute'")
_ALIVE = text("""
    select worker_id from chat_workers where not leaving and seen > now() - make_interval(secs => :lease)
    order by worker_id
""")

# Sixteen rows.
_EXTEND = text("""
    update chat_partitions set lease = now() + make_interval(secs => :lease) where owner = :worker_id
    returning partition, epoch
""")
_TAKE = text("""
    update chat_partitions set owner = :worker_id, epoch = epoch + 1, lease = now() + make_interval(secs => :lease)
    where partition in (
        select partition from chat_partitions where owner is null or lease < now() order by partition limit :count
        for update
    )
    returning partition, epoch
""")
_RELEASE = text("""
    update chat_partitions set owner = null, lease = null
    where partition = :partition and owner = :owner and epoch = :epoch
""")
# Share: whoever takes the partition over waits until this has committed, and whoever comes later finds nothing.
_HOLD = text("""
    select true from chat_partitions where partition = :partition and owner = :owner and epoch = :epoch for share
""")
# A row for each bot that is off, of which little is open for long; by turns_open.
_TO_STOP = text("""
    select distinct partition, room_id, bot_id from turns
    where status in ('queued', 'running', 'parked') and partition = any (cast(:partitions as smallint[]))
        and exists (select from chat_switches where chat_switches.bot_id in (turns.bot_id, ''))
    limit 1000
""")
_LEAVE = text("delete from chat_workers where worker_id = :worker_id")
_STATUSES = text(
    "select worker_id, seen, status from chat_workers where seen > now() - interval '10 s' order by worker_id"
)


class Fenced(SwitchyardError):
    """The partition is another's by now: nothing may be written for it."""

    @classmethod
    def of(cls, ownership: Ownership) -> "Fenced":
        """By whom nothing may be written."""
        return cls(f"partition {ownership.partition} is not {ownership.owner}'s in epoch {ownership.epoch} any more")


async def beat(tx: Transaction, worker_id: str, status: dict[str, Any], *, leaving: bool = False) -> View:
    """Say that a worker lives, keep what is its own, and take what is free up to its share."""
    await tx.execute(_TURN)
    await tx.execute(_SEEN, {"worker_id": worker_id, "leaving": leaving, "status": encode(status).decode()})
    await tx.execute(_BURY)
    alive = [row[0] for row in await tx.execute(_ALIVE, {"lease": LEASE_SECONDS})]
    share = share_of(worker_id, alive)
    asked = {"worker_id": worker_id, "lease": LEASE_SECONDS}
    epochs = {row.partition: row.epoch for row in await tx.execute(_EXTEND, asked)}
    if len(epochs) < share:
        taken = await tx.execute(_TAKE, {**asked, "count": share - len(epochs)})
        epochs |= {row.partition: row.epoch for row in taken}
    rows = await tx.execute(_TO_STOP, {"partitions": list(epochs)})
    return View(epochs, share, [(row.partition, row.room_id, row.bot_id) for row in rows])


def share_of(worker_id: str, alive: list[str]) -> int:
    """How many partitions a worker should have; all shares together are all partitions."""
    if worker_id not in alive:
        return 0
    share, left = divmod(PARTITIONS, len(alive))
    return share + (sorted(alive).index(worker_id) < left)


async def hold(tx: Transaction, ownership: Ownership) -> None:
    """Keep the partition until the transaction ends. Raises `Fenced` when it is not this worker's any more."""
    if not await holds(tx, ownership):
        raise Fenced.of(ownership)


async def holds(tx: Transaction, ownership: Ownership) -> bool:
    """Whether a partition is this worker's; if so it stays that until the transaction ends."""
    return (await tx.execute(_HOLD, ownership._asdict())).first() is not None


async def release(tx: Transaction, ownership: Ownership) -> None:
    """Give a partition up; one that is another's already stays that."""
    await tx.execute(_RELEASE, ownership._asdict())


async def leave(tx: Transaction, worker_id: str) -> None:
    """A worker is gone."""
    await tx.execute(_LEAVE, {"worker_id": worker_id})


async def find_statuses(tx: Transaction) -> list[dict[str, Any]]:
    """What the workers that live say of themselves."""
    return [{"worker_id": row.worker_id, **(row.status or {})} for row in await tx.execute(_STATUSES)]
