"""The pool of live clients, limited by their number and by the memory they are measured to take.

Whoever has to go for another is the one used longest ago; who is answering never is. While all are, rooms wait for a
client in the order in which they have asked.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from services.claude_worker.bots import Bot
from services.claude_worker.failures import INTERRUPTED, AttemptFailed
from services.claude_worker.pool.places import Place
from shared.logs import get_logger
from shared.messages.partitions import partition_of

if TYPE_CHECKING:  # The SDK is an extra: without it there is a worker that says so.
    from services.claude_worker.client.live import LiveClient

# How often it looks for clients that nobody talks to.
LOOK_SECONDS = 1.0
# What a client is taken to need before the first was measured (Claude Code 2.1: 100 MB PSS among many, 190 alone).
TYPICAL_BYTES = 160 * 1024 * 1024
log = get_logger()


class Key(NamedTuple):
    """Whose client it is."""

    room_id: str
    bot_id: str


class Pool:
    """Lends each room the client of its conversation, connected before or now."""

    def __init__(
        self,
        bots: Mapping[str, Bot],
        make: "Callable[[Bot, str | None], LiveClient]",
        *,
        max_clients: int,
        max_bytes: int | None = None,
    ) -> None:
        """`make` makes a client, not yet connected, of a bot and the Claude session to take up again.

        `max_bytes`: what all clients may take together; one may always be there.
        """
        self._bots = bots
        self._make = make
        self._max_clients = max_clients
        self._max_bytes = max_bytes
        self._places: dict[Key, Place] = {}
        # Those on their way out, whose processes may still be there.
        self._closing: dict[asyncio.Task[None], Place] = {}
        self._waiting: deque[tuple[Key, asyncio.Future[None]]] = deque()
        # Let in, with no client made yet.
        self._expected = 0
        # What one takes that was not measured yet: as much as the others.
        self._typical_bytes = TYPICAL_BYTES
        self.answers: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()

    async def lend(self, key: Key, claude_session: str | None, idle_minutes: float | None) -> "LiveClient":
        """The client of a conversation, to be given back; waits for its turn while all are busy.

        One of another conversation of this room, or one that has died, is replaced. Raises `AttemptFailed`.
        """
        bot = self._bots[key.bot_id]
        idle_seconds = 60 * (idle_minutes or bot.idle_minutes)
        place = self._places.get(key)
        if place is not None and place.client.is_alive and place.client.claude_session == claude_session:
            place.is_busy, place.idle_seconds = True, idle_seconds
            return place.client
        if place is not None:
            await self.discard(key, "died" if not place.client.is_alive else "replaced")
        await self._wait_for_room(key)
        try:
            place = self._places[key] = Place(self._make(bot, claude_session), idle_seconds)
        finally:
            self._expected -= 1
        try:
            await place.client.connect()
            place.is_connecting = False
            if place.is_interrupted or self._places.get(key) is not place:
                raise AttemptFailed(INTERRUPTED)
        except BaseException:
            if self._places.get(key) is place:
                await self.discard(key, "interrupted" if place.is_interrupted else "not_connected")
            raise
        return place.client

    def give_back(self, key: Key) -> None:
        """A client is idle again."""
        if (place := self._places.get(key)) is not None:
            place.is_busy = False
            self._let_in()
            self._shed()

    async def discard(self, key: Key, why: str) -> None:
        """Close a client, if there is one; what it was answering fails. It goes even if nobody waits for that."""
        if key in self._places:
            await asyncio.shield(self._close(key, why))

    def keys_of(self, partition: int) -> list[Key]:
        """The rooms of a partition that have clients."""
        return [key for key in self._places if partition_of(*key) == partition]

    async def watch(self) -> None:
        """Close, until cancelled, the clients that nobody talks to."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for key, place in self._idle():
                if now - place.client.used_at > place.idle_seconds:
                    self._close(key, "idle")

    def interrupt(self, key: Key) -> bool:
        """Interrupt what a room's client is answering or about to; False when it is nothing."""
        for waiting, future in self._waiting:
            if waiting == key and not future.done():
                future.set_exception(AttemptFailed(INTERRUPTED))
                return True
        place = self._places.get(key)
        if place is None or not place.is_busy:
            return False
        if place.is_connecting:
            place.is_interrupted = True
        else:
            place.client.give_up()
        return True

    def client_of(self, key: Key) -> "LiveClient | None":
        """The client of a conversation, if one is connected or about to be."""
        place = self._places.get(key)
        return place.client if place is not None else None

    def idle_conversations(self) -> dict[Key, str]:
        """The Claude sessions of those clients that answer nothing just now."""
        return {key: place.client.claude_session for key, place in self._idle()}

    def follow(
        self, records: Mapping[tuple[str, str], tuple[str | None, float | None]], asked: Mapping[Key, str]
    ) -> None:
        """Obey what the records say of `asked`: the conversation of each chat that is there, and its idle minutes.

        A client of a conversation that was forgotten is closed.
        """
        for key, place in self._idle():
            if place.client.claude_session != asked.get(key):
                continue
            claude_session, idle_minutes = records.get(key, (None, None))
            if claude_session != place.client.claude_session:
                self._close(key, "forgotten")
            elif bot := self._bots.get(key.bot_id):
                place.idle_seconds = 60 * (idle_minutes or bot.idle_minutes)

    async def close(self) -> None:
        """Close every client."""
        await asyncio.gather(*(self.discard(key, "stopped") for key in list(self._places)), *self._closing)

    def kill(self) -> None:
        """End every client's process at once."""
        for place in self._all():
            place.client.kill()

    def pids(self, since: float) -> list[int]:
        """The processes of clients that were not measured, or have done something since then (monotonic)."""
        return [
            pid
            for place in self._all()
            if (pid := place.client.pid) is not None
            and (place.measured is None or place.is_busy or place.client.used_at >= since)
        ]

    @property
    def homes(self) -> Collection[Path]:
        """The folders of all clients, also of those that are only about to have a process."""
        return {place.client.home for place in self._all()}

    @property
    def memory_bytes(self) -> int:
        """What all clients take as far as it was measured; others are taken to be like them."""
        return self._weight(self._all())

    def weigh(self, measured: Mapping[int, int]) -> None:
        """Take note of how many bytes each process takes; who is idle and too much is closed."""
        for place in self._all():
            # One that is only just starting takes less than it will.
            if (pid := place.client.pid) is not None and pid in measured and not place.is_connecting:
                place.measured = measured[pid]
        if known := [place.measured for place in self._places.values() if place.measured is not None]:
            self._typical_bytes = sum(known) // len(known)
        self._shed()
        self._let_in()

    def status(self) -> dict[str, Any]:
        """How many clients there are and whose, what they take, and how answers came about."""
        now = time.monotonic()
        busy = sum(place.is_busy and not place.is_connecting for place in self._places.values())
        connecting = sum(place.is_connecting for place in self._places.values())
        return {
            "clients": len(self._places),
            "busy": busy,
            "idle": len(self._places) - busy - connecting,
            "connecting": connecting,
            "closing": len(self._closing),
            "waiting": len(self._waiting),
            "max_clients": self._max_clients,
            "memory_mb": round(self.memory_bytes / 2**20, 1),
            "max_memory_mb": self._max_bytes and round(self._max_bytes / 2**20, 1),
            "answers": dict(self.answers),
            "closed": dict(self.evictions),
            "sessions": [{**key._asdict(), **place.status(now)} for key, place in self._places.items()],
        }

    async def _wait_for_room(self, key: Key) -> None:
        allowed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (key, allowed)
        self._waiting.append(waiting)
        self._let_in()
        try:
            await allowed
        except asyncio.CancelledError:
            if allowed.done() and not allowed.cancelled() and allowed.exception() is None:
                self._expected -= 1
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            self._let_in()

    def _let_in(self) -> None:
        """Let those who wait have a client, as many as there is room for; else have somebody go."""
        while self._waiting:
            if self._waiting[0][1].done():
                self._waiting.popleft()
            elif self._has_room():
                self._expected += 1
                self._waiting.popleft()[1].set_result(None)
            else:
                # For each who waits one goes, not one for each time somebody looks.
                if len(self._closing) < len(self._waiting):
                    self._close_oldest("pool_full" if self._is_full() else "memory")
                return

    def _is_full(self) -> bool:
        return len(self._places) + len(self._closing) + self._expected >= self._max_clients

    def _has_room(self) -> bool:
        if self._is_full():
            return False
        if self._max_bytes is None or not (self._places or self._closing or self._expected):
            return True
        return self.memory_bytes + (self._expected + 1) * self._typical_bytes <= self._max_bytes

    def _shed(self) -> None:
        """Close who is idle while all together take too much."""
        while self._max_bytes is not None and self._weight(self._places.values()) > self._max_bytes:
            if not self._close_oldest("memory"):
                return

    def _all(self) -> list[Place]:
        return [*self._places.values(), *self._closing.values()]

    def _weight(self, places: Iterable[Place]) -> int:
        return sum(place.weight(self._typical_bytes) for place in places)

    def _idle(self) -> list[tuple[Key, Place]]:
        return [(key, place) for key, place in self._places.items() if not place.is_busy]

    def _close_oldest(self, why: str) -> bool:
        if idle := self._idle():
            self._close(min(idle, key=lambda each: each[1].client.used_at)[0], why)
        return bool(idle)

    def _close(self, key: Key, why: str) -> "asyncio.Task[None]":
        # Taken out at once, so that nobody is lent it while it goes.
        place = self._places.pop(key)
        self.evictions[why] += 1
        task = asyncio.create_task(self._end(place.client, key, why))
        self._closing[task] = place
        task.add_done_callback(self._closed)
        return task

    def _closed(self, task: "asyncio.Task[None]") -> None:
        del self._closing[task]
        self._let_in()

    async def _end(self, client: "LiveClient", key: Key, why: str) -> None:
        pid = client.pid
        try:
            await client.close()
        finally:
            client.kill()
        log.info("client_closed", room_id=key.room_id, bot_id=key.bot_id, pid=pid, why=why)
