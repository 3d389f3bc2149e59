"""The spool's files: one slot for each ingress that shares a data folder, held by a lock for as long as it lives."""

import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import IO

from shared.logs import get_logger

_SCHEMA = """
create table if not exists messages (
    id integer primary key autoincrement,
    message_id text not null,
    routing_key text not null,
    content_encoding text not null,
    traceparent text not null,
    body blob not null
);
create index if not exists messages_by_message_id on messages (message_id);
"""
_SLOTS = 256

log = get_logger()


class Slot:
    """A spool file this process alone may open."""

    def __init__(self, folder: Path, number: int, lock: IO[bytes]) -> None:
        self.number = number
        self.path = folder / f"ingress-{number}.sqlite"
        self._lock = lock

    def release(self) -> None:
        """Let another process have it."""
        self._lock.close()

    def delete(self) -> None:
        """Remove the file; its lock stays held. The lock's own file stays for good: it can't be removed safely."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


def claim(folder: Path) -> Slot:
    """The first slot nobody holds; the folder is made when it is not there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(_SLOTS):
        if slot := _try(folder, number):
            return slot
    raise OSError(f"all {_SLOTS} spool slots in {folder} are held")


def left_behind(folder: Path, own: int) -> list[Slot]:
    """Slots with a file whose process is gone; the caller holds them from now on."""
    found = []
    for path in sorted(folder.glob("ingress-*.sqlite")):
        number = path.stem.removeprefix("ingress-")
        if number.isdecimal() and int(number) != own and (slot := _try(folder, int(number))):
            if slot.path.exists():
                found.append(slot)
            else:  # emptied by another process a moment ago
                slot.release()
    return found


def _try(folder: Path, number: int) -> Slot | None:
    lock = (folder / f"ingress-{number}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return Slot(folder, number, lock)


def open_database(path: Path) -> sqlite3.Connection:
    """The database of a slot; a damaged file is set aside, with an error in the log, and a new one begun."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # no space, no permission: the file may be whole
            raise
        set_aside(path, error)
        return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    is_new = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        # The slot's lock already keeps others out; exclusive mode also spares the shared-memory file.
        connection.execute("pragma locking_mode = exclusive")
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        if not is_new:
            found = connection.execute("pragma quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        connection.executescript(_SCHEMA)
        connection.execute(
            "select id, message_id, routing_key, content_encoding, traceparent, body from messages limit 1"
        )
    except BaseException:
        connection.close()
        raise
    if is_new:
        _sync_folder(path.parent)
    return connection


def _sync_folder(folder: Path) -> None:
    # Else a power cut could take the new file's name, and with it what was acknowledged.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, error: Exception) -> Path:
    """Rename a damaged file, with its journal, so that a person can look at it; nothing is deleted."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    log.error(
        "spool_damaged",
        file=str(path),
        set_aside_as=str(aside),
        fault=str(error),
        hint="it may hold accepted messages that were not published; `sqlite3 FILE .recover` gets out what can be",
    )
    return aside
