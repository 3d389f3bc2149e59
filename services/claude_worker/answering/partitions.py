"""The partitions of this replica: taken and given up by what the registry says, each with its queue and its lanes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.claude_worker.answering.attempt import Workshop
from services.claude_worker.answering.lanes import Lane
from services.claude_worker.handlers.starting import Started
from services.claude_worker.pool.pool import Key
from services.claude_worker.store import registry, turns
from services.claude_worker.store.registry import Ownership, View
from shared.bus.replies import Handler
from shared.bus.topology import partition_queue
from shared.bus.worker import Worker
from shared.database import Database, is_transient
from shared.logs import get_logger
from shared.messages import Command

# How often a worker says that it lives, and looks whether its share has changed.
BEAT_SECONDS = 2.0
# The same while it has less than its share: rooms wait for what others give up.
SHORT_BEAT_SECONDS = 0.5
# How long a turn that is under way is waited for when its partition goes to another; and when the worker stops.
HAND_OVER_SECONDS = 6.0
STOP_SECONDS = 4.0
# A worker that hangs keeps its place at the queue until the broker misses it.
HEARTBEAT_SECONDS = 5
# Lanes that have nothing to do are kept until there are so many.
MAX_IDLE_LANES = 1000
# The commands of a partition, for its owner; see `handlers.partition_handlers`.
HandlersOf = Callable[[Ownership, dict[str, Started]], Mapping[str, Handler]]
log = get_logger()


class OwnedPartition:
    """A partition that is ours."""

    def __init__(
        self, shop: Workshop, ownership: Ownership, *, url: str, database: Database, handlers: HandlersOf
    ) -> None:
        self.ownership = ownership
        self.is_lost = False
        self._shop = shop
        self._database = database
        self._lanes: dict[Key, Lane] = {}
        # Attempts that have begun with their messages, by the ids of these.
        self._begun: dict[str, Started] = {}
        self._worker = Worker(
            name=f"claude_worker {partition_queue('chat', ownership.partition)}",
            url=url,
            queues=[partition_queue("chat", ownership.partition)],
            database=database,
            publisher=shop.publisher,
            handlers=handlers(ownership, self._begun),
            batch_handlers={},
            ordered=True,
            heartbeat=HEARTBEAT_SECONDS,
            on_committed=self._on_committed,
        )
        self._tasks = [asyncio.create_task(self._worker.run()), asyncio.create_task(self._take_up())]

    @property
    def is_working(self) -> bool:
        """Whether a turn is under way."""
        return any(lane.is_working for lane in self._lanes.values())

    @property
    def fault(self) -> BaseException | None:
        """What has ended it though nobody told it to, a bug."""
        faults = (task.exception() for task in self._tasks if task.done() and not task.cancelled())
        return next((fault for fault in faults if fault is not None), None)

    def stop_bot(self, key: Key) -> None:
        """Have whoever is answering, or waits to, find out that his bot was switched off."""
        self._lane(key).poke()

    async def hand_over(self, grace: float) -> None:
        """Take nothing more, end what is under way, and let it go; returns when the next owner may have it."""
        self._worker.stop()
        await asyncio.gather(*self._tasks)
        # By now nothing comes that they would have to begin with.
        await asyncio.gather(*(lane.finish(grace) for lane in self._lanes.values()))
        await self._discard_clients("handed_over")
        async with self._database.transaction() as tx:
            await registry.release(tx, self.ownership)

    async def abandon(self) -> None:
        """It is another's already: drop everything."""
        for lane in self._lanes.values():
            lane.abandon()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._discard_clients("fenced")

    async def _discard_clients(self, why: str) -> None:
        pool = self._shop.pool
        await asyncio.gather(*(pool.discard(key, why) for key in pool.keys_of(self.ownership.partition)))

    async def _take_up(self) -> None:
        """Go on with what whoever had it before has left."""
        while True:
            try:
                async with self._database.reading() as tx:
                    left = await turns.open_chats(tx, self.ownership.partition)
                break
            except Exception as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(1)
        for room_id, bot_id in left:
            self._lane(Key(room_id, bot_id)).poke()

    def _on_committed(self, commands: Sequence[Command]) -> None:
        for command in commands:
            lane = self._lane(Key(command.data.room_id, command.data.bot_id))
            if command.spec.name == "reset_chat":
                lane.begin_anew()
            lane.poke(self._begun.pop(command.message_id, None))

    def _lane(self, key: Key) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= MAX_IDLE_LANES:
                self._lanes = {key: each for key, each in self._lanes.items() if each.is_working}
            lane = self._lanes[key] = Lane(self._shop, self.ownership, key, self._on_fenced)
        return lane

    def _on_fenced(self) -> None:
        self.is_lost = True


class Partitions:
    """Keeps as many partitions as are this worker's share."""

    def __init__(
        self,
        shop: Workshop,
        worker_id: str,
        *,
        url: str,
        database: Database,
        handlers: HandlersOf,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._shop = shop
        self._worker_id = worker_id
        self._url = url
        self._database = database
        self._handlers = handlers
        self._status = status
        self._owned: dict[int, OwnedPartition] = {}
        self._leaving: dict[int, asyncio.Task[None]] = {}
        # Whether there is more to be had than what is its own.
        self._lacks = False

    @property
    def ownerships(self) -> dict[int, Ownership]:
        """What is this worker's, and in which epochs."""
        return {partition: owned.ownership for partition, owned in self._owned.items()}

    @property
    def owned(self) -> list[int]:
        """The partitions that are this worker's."""
        return sorted(self._owned)

    def status(self) -> dict[str, Any]:
        """Which partitions are this worker's."""
        return {"partitions": self.owned, "leaving": sorted(self._leaving)}

    async def run(self, stopping: asyncio.Event) -> None:
        """Beat until told to stop; then end what is under way, and give everything up."""
        while not stopping.is_set():
            await self._beat()
            try:
                async with asyncio.timeout(SHORT_BEAT_SECONDS if self._lacks else BEAT_SECONDS):
                    await stopping.wait()
            except TimeoutError:
                pass
        await self._stop()

    async def _beat(self, *, leaving: bool = False) -> None:
        try:
            async with self._database.transaction() as tx:
                view = await registry.beat(tx, self._worker_id, {**self._status(), **self.status()}, leaving=leaving)
        except Exception as error:
            if not is_transient(error):
                raise
            # What was ours stays so as far as we know: nobody else can take it either, and if he can, we are fenced.
            log.warning("beat_missed", reason=str(error).split("\n")[0])
            return
        await self._follow(view, STOP_SECONDS if leaving else HAND_OVER_SECONDS)

    async def _follow(self, view: View, grace: float) -> None:
        self._lacks = len(view.epochs) < view.share
        for partition, owned in list(self._owned.items()):
            if owned.is_lost or view.epochs.get(partition) != owned.ownership.epoch:
                del self._owned[partition]
                log.warning("partition_lost", partition=partition, epoch=owned.ownership.epoch)
                await owned.abandon()
            elif (fault := owned.fault) is not None:
                # Given up, to be taken anew by whoever looks next.
                del self._owned[partition]
                log.error("partition_failed", partition=partition, exc_info=fault)
                await owned.abandon()
                await self._release(owned.ownership)
                view.epochs.pop(partition)
        for partition, epoch in view.epochs.items():
            if partition not in self._owned and partition not in self._leaving:
                ownership = Ownership(partition, self._worker_id, epoch)
                log.info("partition_taken", partition=partition, epoch=epoch)
                self._owned[partition] = OwnedPartition(
                    self._shop, ownership, url=self._url, database=self._database, handlers=self._handlers
                )
        for partition, *chat in view.to_stop:
            if partition in self._owned:
                self._owned[partition].stop_bot(Key(*chat))
        # Those where nobody waits for an answer first.
        surplus = sorted(self._owned.values(), key=lambda owned: (owned.is_working, -owned.ownership.partition))
        for owned in surplus[: max(0, len(self._owned) - view.share)]:
            self._let_go(owned, grace)

    def _let_go(self, owned: OwnedPartition, grace: float) -> None:
        partition = owned.ownership.partition
        del self._owned[partition]

        async def let_go() -> None:
            try:
                await owned.hand_over(grace)
                log.info("partition_handed_over", partition=partition, epoch=owned.ownership.epoch)
            except Exception as error:
                if not is_transient(error):
                    raise
                # Its lease lapses: nobody says any more that it is ours.
                log.warning("partition_not_handed_over", partition=partition, reason=str(error).split("\n")[0])
            finally:
                del self._leaving[partition]

        self._leaving[partition] = asyncio.create_task(let_go())

    async def _release(self, ownership: Ownership) -> None:
        try:
            async with self._database.transaction() as tx:
                await registry.release(tx, ownership)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("partition_not_released", partition=ownership.partition, reason=str(error).split("\n")[0])

    async def _stop(self) -> None:
        await self._beat(leaving=True)
        for owned in list(self._owned.values()):
            self._let_go(owned, STOP_SECONDS)
        await asyncio.gather(*self._leaving.values())
        await self._shop.pool.close()
        await self._shop.local.drain()
        try:
            async with self._database.transaction() as tx:
                await registry.leave(tx, self._worker_id)
        except Exception as error:
            if not is_transient(error):
                raise
