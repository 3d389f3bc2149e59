"""The commands that write sessions as they were in another place."""

from services.session_worker import store
from services.session_worker.store.transfer import TABLES, insert_session, restore_session
from shared.bus.replies import Handler, Reply
from shared.database import Transaction, savepoint
from shared.database.records import record_of, records_of, write_records
from shared.errors import conflict, not_found
from shared.messages import Command
from shared.messages.session import Session
from shared.messages.transfer import MAX_RECORDS, ImportRecords, ImportSession, SessionRecord


async def import_session(tx: Transaction, command: Command) -> Reply:
    """Write a session as it was, or set one that came before back to it; another one under the id is a conflict."""
    asked: ImportSession = command.data
    record = record_of(SessionRecord, asked.session, "session")
    created = await insert_session(tx, asked.session_id, record)
    session = await store.sessions.lock_session(tx, asked.session_id)
    assert session is not None
    if not created:
        if not is_same(session, record):
            raise conflict(
                f"session {asked.session_id!r} is there already, and is another one; import it under another id",
                session_id=asked.session_id,
            )
        await restore_session(tx, asked.session_id, record)
        session = await store.sessions.lock_session(tx, asked.session_id)
    return Reply({"session": session, "created": created})


def is_same(session: Session, record: SessionRecord) -> bool:
    """Whether a session and a record began as the same."""
    fields = ("title", "user_id", "participants", "created")
    # A file of lines has spaces where JSON had line breaks.
    ours, theirs = (str(each.initial).translate({10: " ", 13: " "}) for each in (session, record))
    return ours == theirs and all(getattr(session, name) == getattr(record, name) for name in fields)


async def import_records(tx: Transaction, command: Command) -> Reply:
    """Write records of one kind into a session, whatever its status; all of them or none."""
    asked: ImportRecords = command.data
    table = TABLES[asked.kind]
    records = records_of(table.model, asked.records, "records", MAX_RECORDS)
    if await store.sessions.lock_session(tx, asked.session_id) is None:
        raise not_found("session", asked.session_id)
    async with savepoint(tx):
        imported = await write_records(tx, table, asked.session_id, records)
    return Reply({"imported": imported})


HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in (import_session, import_records)}
