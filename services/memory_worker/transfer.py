"""The command that writes memories as they were in another place."""

from services.memory_worker import recalled
from shared.bus.handled import lock_sessions
from shared.bus.replies import Handler, Reply
from shared.database import Transaction, savepoint
from shared.database.records import RecordTable, records_of, write_records
from shared.errors import not_found
from shared.messages import Command
from shared.messages.transfer import MAX_RECORDS, ImportMemories, MemoryRecord, MemoryVersionRecord

# Both by their primary keys.
_IN_FORCE = RecordTable("memories", MemoryRecord, ("key",), derived={"content_hash": "bigint"})
_REPLACED = RecordTable("memory_versions", MemoryVersionRecord, ("key", "version"))


async def import_memories(tx: Transaction, command: Command) -> Reply:
    """Write versions of memories into a session, whatever its status; all of them or none."""
    asked: ImportMemories = command.data
    records = records_of(MemoryVersionRecord, asked.records, "records", MAX_RECORDS)
    if not await lock_sessions(tx, [asked.session_id]):
        raise not_found("session", asked.session_id)
    in_force = [record for record in records if record.replaced is None]
    hashes = [{"content_hash": content_hash(asked.session_id, record)} for record in in_force]
    async with savepoint(tx):
        imported = await write_records(tx, _IN_FORCE, asked.session_id, in_force, hashes)
        replaced = [record for record in records if record.replaced is not None]
        imported += await write_records(tx, _REPLACED, asked.session_id, replaced)
    return Reply({"imported": imported})


def content_hash(session_id: str, record: MemoryRecord) -> int | None:
    """By what a memory is recognised when its text comes back; nothing of what is forgotten."""
    if record.forgotten is not None or (said := recalled.says(record.content)) is None:
        return None
    return recalled.content_hash(session_id, said)


HANDLERS: dict[str, Handler] = {"import_memories": import_memories}
