"""The pool of live clients: at most so many; the one used longest ago goes first, and those nobody talks to in time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from services.claude_worker.bots import Bot
from shared.logs import get_logger
from shared.messages.partitions import partition_of

if TYPE_CHECKING:  # The SDK is an extra: without it there is a worker that says so.
    from services.claude_worker.clients import LiveClient

# How often it looks for clients that nobody talks to.
LOOK_SECONDS = 1.0
log = get_logger()


class Key(NamedTuple):
    """Whose client it is."""

    room_id: str
    bot_id: str


class Pool:
    """Lends each room the client of its conversation, connected before or now."""

    def __init__(
        self, bots: Mapping[str, Bot], make: "Callable[[Bot, str | None], LiveClient]", *, max_clients: int
    ) -> None:
        """`make` makes a client, not yet connected, of a bot and the Claude session to take up again."""
        self._bots = bots
        self._make = make
        self._max_clients = max_clients
        # One for each client that is there, or about to be.
        self._seats = asyncio.Semaphore(max_clients)
        self._waiting = 0
        self._clients: dict[Key, LiveClient] = {}
        self._busy: set[Key] = set()
        self._idle_seconds: dict[Key, float] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.answers: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()

    async def lend(self, key: Key, claude_session: str | None, idle_minutes: float | None) -> "LiveClient":
        """The client of a conversation, to be given back; waits for its turn while all are busy.

        One of another conversation of this room, or one that has died, is replaced. Raises `AttemptFailed`.
        """
        bot = self._bots[key.bot_id]
        self._idle_seconds[key] = 60 * (idle_minutes or bot.idle_minutes)
        client = self._clients.get(key)
        if client is not None and client.is_alive and client.claude_session == claude_session:
            self._busy.add(key)
            return client
        if client is not None:
            await self.discard(key, "died" if not client.is_alive else "replaced")
        if self._seats.locked():
            self._make_room()
        self._waiting += 1
        try:
            await self._seats.acquire()
        finally:
            self._waiting -= 1
        client = self._make(bot, claude_session)
        self._clients[key] = client
        self._busy.add(key)
        try:
            await client.connect()
        except BaseException:
            await self.discard(key, "not_connected")
            raise
        return client

    def give_back(self, key: Key) -> None:
        """A client is idle again."""
        self._busy.discard(key)
        if self._waiting:
            self._make_room()

    async def discard(self, key: Key, why: str) -> None:
        """Close a client, if there is one; what it was answering fails."""
        if key in self._clients:
            await self._close(key, why)

    def keys_of(self, partition: int) -> list[Key]:
        """The rooms of a partition that have clients."""
        return [key for key in self._clients if partition_of(*key) == partition]

    async def watch(self) -> None:
        """Close, until cancelled, the clients that nobody talks to."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for key in [key for key in self._clients if key not in self._busy]:
                if now - self._clients[key].used_at > self._idle_seconds[key]:
                    self._close(key, "idle")

    def interrupt(self, key: Key) -> bool:
        """Interrupt what a room's client is answering; False when it is answering nothing."""
        if key not in self._busy:
            return False
        self._clients[key].give_up()
        return True

    async def close(self) -> None:
        """Close every client."""
        await asyncio.gather(*(self.discard(key, "stopped") for key in list(self._clients)), *self._closing)

    def kill(self) -> None:
        """End every client's process at once."""
        for client in self._clients.values():
            client.kill()

    def status(self) -> dict[str, Any]:
        """How many clients there are and whose, and how answers came about."""
        now = time.monotonic()
        return {
            "clients": len(self._clients),
            "busy": len(self._busy),
            "idle": len(self._clients) - len(self._busy),
            "waiting": self._waiting,
            "max_clients": self._max_clients,
            "answers": dict(self.answers),
            "closed": dict(self.evictions),
            "sessions": [
                {
                    "room_id": key.room_id,
                    "bot_id": key.bot_id,
                    "busy": key in self._busy,
                    "idle_s": 0.0 if key in self._busy else round(now - client.used_at, 1),
                }
                for key, client in self._clients.items()
            ],
        }

    def _make_room(self) -> None:
        idle = [key for key in self._clients if key not in self._busy]
        if idle:
            self._close(min(idle, key=lambda key: self._clients[key].used_at), "pool_full")

    def _close(self, key: Key, why: str) -> "asyncio.Task[None]":
        # Taken out at once, so that nobody is lent it while it goes.
        client = self._clients.pop(key)
        self._busy.discard(key)
        self.evictions[why] += 1
        task = asyncio.create_task(self._end(client, key, why))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    async def _end(self, client: "LiveClient", key: Key, why: str) -> None:
        try:
            await client.close()
        finally:
            client.kill()
            self._seats.release()
        log.info("client_closed", room_id=key.room_id, bot_id=key.bot_id, pid=client.pid, why=why)
