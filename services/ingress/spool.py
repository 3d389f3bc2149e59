"""The spool: writing commands that can't be published now, fsynced on disk, in order, bounded by bytes.

SQLite in WAL mode with `synchronous = full`, so what `put` acknowledged survives kill -9 and a power cut. One thread
does all the writing: whatever has arrived while it was at the last commit goes into the next one (group commit).
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from services.ingress import slots
from services.ingress.outgoing import Outgoing
from shared.errors import SwitchyardError
from shared.logs import get_logger

# What a row takes on disk beside its body, about.
_ROW_OVERHEAD = 400
_GROUP = 1000
_ADOPT_BYTES = 16_000_000
_SHRINK_ABOVE = 64_000_000
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

log = get_logger()


class SpoolFull(SwitchyardError):
    """The spool holds as much as it may, or the disk does not take more: the message was not kept."""


class Row(NamedTuple):
    """A message in the spool."""

    id: int
    message: Outgoing


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]


class Spool:
    """Messages waiting on disk. `messages` and `bytes` count what is in it, writes under way included."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._loop = asyncio.get_running_loop()
        self.messages = 0
        self.bytes = 0
        # Of these, what is not committed yet.
        self._arriving_messages = 0
        self._arriving_bytes = 0

    async def open(self) -> None:
        """Claim a slot and start; what a former process left in it counts again. Raises OSError, sqlite3.Error."""
        self._slot = await asyncio.to_thread(slots.claim, self._folder)
        self._connection = await asyncio.to_thread(slots.open_database, self._slot.path)
        self.messages, self.bytes = await asyncio.to_thread(_measure, self._connection)
        self._thread = Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()
        if self.messages:
            log.info("spool_found", file=str(self._slot.path), messages=self.messages, bytes=self.bytes)

    async def close(self) -> None:
        """Finish what was begun and let the slot go."""
        if self._thread:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._connection.close()
            self._slot.release()

    @property
    def has_room(self) -> bool:
        """Whether an ordinary message would still be taken."""
        return self.bytes + 16_384 <= self._max_bytes

    async def put(self, message: Outgoing) -> None:
        """Return once the message is fsynced. Raises SpoolFull: it was not kept."""
        size = _size(message)
        if self.bytes + size > self._max_bytes:
            raise SpoolFull(f"{self.messages} messages wait in the spool, {self.bytes} of {self._max_bytes} bytes")
        await self._put([message], size)

    async def _put(self, messages: list[Outgoing], size: int) -> None:
        self.messages += len(messages)
        self.bytes += size
        self._arriving_messages += len(messages)
        self._arriving_bytes += size
        try:
            await self._do(lambda connection: _insert(connection, messages))
        except sqlite3.Error as error:
            self.messages -= len(messages)
            self.bytes -= size
            log.error("spool_write_failed", fault=str(error), messages=self.messages, bytes=self.bytes)
            raise SpoolFull(f"the disk did not take the message: {error}") from None
        finally:
            self._arriving_messages -= len(messages)
            self._arriving_bytes -= size

    async def head(self, after: int, *, rows: int, size: int) -> list[Row]:
        """The next messages after an id, in order: at most `rows`, and no more once they have `size` bytes.

        Puts begun before this are seen. Raises sqlite3.Error.
        """
        found: list[Row] = await self._do(lambda connection: _select(connection, after, rows, size))
        return found

    async def remove(self, rows: list[Row]) -> None:
        """Forget messages that the broker has confirmed. Raises sqlite3.Error."""
        await self._do(lambda connection: _delete(connection, [row.id for row in rows]))
        self.messages -= len(rows)
        self.bytes -= sum(_size(row.message) for row in rows)

    async def holds(self, message_id: str) -> bool:
        """Whether a message with this id waits here. Raises sqlite3.Error."""
        return bool(self.messages) and await self._do(lambda connection: _find(connection, message_id))

    async def adopt(self) -> int:
        """Take over what processes that are gone left in their slots; returns the number of messages.

        A crash in the middle of it leaves some messages in both files: they go out twice, with the same ids.
        """
        adopted = 0
        for slot in await asyncio.to_thread(slots.left_behind, self._folder, self._slot.number):
            try:
                connection = await asyncio.to_thread(slots.open_database, slot.path)
                with closing(connection):
                    after = 0
                    while rows := await asyncio.to_thread(_select, connection, after, _GROUP, _ADOPT_BYTES):
                        messages = [row.message for row in rows]
                        # Beyond the limit too: these were accepted before.
                        await self._put(messages, sum(map(_size, messages)))
                        after = rows[-1].id
                        adopted += len(rows)
                await asyncio.to_thread(slot.delete)
            finally:
                slot.release()
        if adopted:
            log.info("spool_adopted", messages=adopted)
        return adopted

    async def _do(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        done: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(work, done))
        return await done

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            while len(group) < _GROUP and not self._jobs.empty():
                another = self._jobs.get()
                if another is None:
                    self._jobs.put(None)
                    break
                group.append(another)
            outcome: list[Any] | Exception
            try:
                outcome = self._commit(group)
            except Exception as error:  # noqa: BLE001 (whoever asked is told; without the thread they would wait for ever)
                outcome = error
                if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                    self._begin_anew(error)
            self._loop.call_soon_threadsafe(_settle, group, outcome)

    def _commit(self, group: list[_Job]) -> list[Any]:
        connection = self._connection
        connection.execute("begin immediate")
        try:
            results = [job.work(connection) for job in group]
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        try:
            _shrink(connection)
        except sqlite3.Error as error:  # what was committed is so in any case
            log.warning("spool_not_shrunk", fault=str(error))
        return results

    def _begin_anew(self, error: sqlite3.Error) -> None:
        self._connection.close()
        try:
            slots.set_aside(self._slot.path, error)
            self._connection = slots.open_database(self._slot.path)
        except (OSError, sqlite3.Error) as fault:
            # On the closed connection every write fails from now on, and its sender is told.
            log.error("spool_lost", file=str(self._slot.path), fault=str(fault), hint="mend the disk, then restart")
        self._loop.call_soon_threadsafe(self._forget)

    def _forget(self) -> None:
        self.messages, self.bytes = self._arriving_messages, self._arriving_bytes


def _settle(group: list[_Job], outcome: list[Any] | Exception) -> None:
    for number, job in enumerate(group):
        if job.done.done():
            continue
        if isinstance(outcome, Exception):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome[number])


def _size(message: Outgoing) -> int:
    return len(message.body) + _ROW_OVERHEAD


def _measure(connection: sqlite3.Connection) -> tuple[int, int]:
    count, size = connection.execute("select count(*), coalesce(sum(length(body)), 0) from messages").fetchone()
    return count, size + count * _ROW_OVERHEAD


def _insert(connection: sqlite3.Connection, messages: list[Outgoing]) -> None:
    connection.executemany(
        "insert into messages (routing_key, message_id, body, content_encoding, traceparent) values (?, ?, ?, ?, ?)",
        messages,
    )


def _select(connection: sqlite3.Connection, after: int, rows: int, size: int) -> list[Row]:
    found = []
    cursor = connection.execute(
        "select id, routing_key, message_id, body, content_encoding, traceparent from messages"
        " where id > ? order by id limit ?",
        (after, rows),
    )
    for number, *fields in cursor:
        found.append(Row(number, Outgoing(*fields)))
        size -= len(fields[2])
        if size <= 0:
            break
    cursor.close()
    return found


def _delete(connection: sqlite3.Connection, ids: list[int]) -> None:
    connection.executemany("delete from messages where id = ?", [(number,) for number in ids])


def _find(connection: sqlite3.Connection, message_id: str) -> bool:
    return (
        connection.execute("select 1 from messages where message_id = ? limit 1", (message_id,)).fetchone() is not None
    )


def _shrink(connection: sqlite3.Connection) -> None:
    """Give the disk its space back once everything in a large file has gone."""
    pages, page_size = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * page_size > _SHRINK_ABOVE and connection.execute("select 1 from messages limit 1").fetchone() is None:
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
