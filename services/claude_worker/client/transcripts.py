"""What Claude remembers, kept in PostgreSQL through the SDK's session store."""

from collections.abc import Container
from typing import Any

from services.claude_worker.store import transcripts
from services.claude_worker.store.transcripts import Place
from shared.database import Database, is_transient
from shared.errors import SwitchyardError

# What one turn may add; a conversation with more would not fit into any model either.
MAX_TURN_BYTES = 32 * 1024 * 1024
Key = Any
Entry = dict[str, Any]


class TranscriptTooLong(SwitchyardError):
    """One turn has produced more than is kept."""


class TranscriptStore:
    """The SDK's `SessionStore` on the table `chat_transcripts`: everything is written at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, key: Key, entries: list[Entry]) -> None:
        """Add lines; those with a uuid that is there already are left as they are."""
        async with self._database.transaction() as tx:
            await transcripts.add_entries(tx, _place(key), entries)

    async def load(self, key: Key) -> list[Entry] | None:
        """The lines of a transcript in their order; None when there is none."""
        return await _again(self._load, key) or None

    async def list_subkeys(self, key: Key) -> list[str]:
        """The parts of a conversation that have transcripts of their own."""
        return await _again(self._list_subkeys, key)

    async def list_sessions(self, project_key: str) -> list[dict[str, Any]]:
        """The conversations of a project, each with when it was last written, in milliseconds."""
        async with self._database.reading() as tx:
            found = await transcripts.list_sessions(tx, project_key)
        return [{"session_id": claude_session, "mtime": written} for claude_session, written in found]

    async def delete(self, key: Key) -> None:
        """Delete a conversation, or the part that the key names."""
        async with self._database.transaction() as tx:
            await transcripts.delete_entries(tx, _place(key))

    async def _load(self, key: Key) -> list[Entry]:
        async with self._database.reading() as tx:
            return await transcripts.load_entries(tx, _place(key))

    async def _list_subkeys(self, key: Key) -> list[str]:
        async with self._database.reading() as tx:
            return await transcripts.list_subpaths(tx, key["project_key"], key["session_id"])


class TurnTranscript:
    """The session store of one live client: keeps what a turn adds until it is finished, and reads from the table.

    So the table holds a turn exactly if it was answered, and whoever takes the conversation up again begins after the
    last one that was.
    """

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._lines: dict[Place, list[Entry]] = {}
        self._bytes = 0

    async def append(self, key: Key, entries: list[Entry]) -> None:
        """Keep lines for the end of the turn. Raises `TranscriptTooLong`."""
        self._bytes += sum(len(str(entry)) for entry in entries)
        if self._bytes > MAX_TURN_BYTES:
            raise TranscriptTooLong(f"a turn's transcript is over {MAX_TURN_BYTES} bytes")
        self._lines.setdefault(_place(key), []).extend(entries)

    async def load(self, key: Key) -> list[Entry] | None:
        """The lines of a transcript as the last turn that was answered has left it."""
        return await self._store.load(key)

    async def list_subkeys(self, key: Key) -> list[str]:
        """The parts of a conversation that have transcripts of their own."""
        return await self._store.list_subkeys(key)

    @property
    def is_whole(self) -> bool:
        """Whether everything that was added is here."""
        return self._bytes <= MAX_TURN_BYTES

    def take(self, before: Container[str] = ()) -> list[tuple[Place, list[Entry]]]:
        """What the turn has added, which is this object's no more, up to the first line that has one of these ids."""
        lines, self._lines, self._bytes = self._lines, {}, 0
        taken = []
        for place, added in lines.items():
            end = next((at for at, entry in enumerate(added) if entry.get("uuid") in before), len(added))
            taken.append((place, added[:end]))
            if added[end:]:
                self._lines[place] = added[end:]
                self._bytes += sum(len(str(entry)) for entry in added[end:])
        return taken


def _place(key: Key) -> Place:
    return Place(key["project_key"], key["session_id"], key.get("subpath") or "")


async def _again(read: Any, key: Key) -> Any:
    try:
        return await read(key)
    except Exception as error:
        if not is_transient(error):
            raise
    # A connection kept from before the database was restarted fails once, and takes the other old ones with it.
    return await read(key)
