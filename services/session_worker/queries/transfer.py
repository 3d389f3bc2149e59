"""The question for a session's records."""

from typing import Any

from services.session_worker import store
from services.session_worker.store.transfer import TABLES, TASKS_WITHOUT_CALLBACKS
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.database.records import read_records
from shared.errors import not_found
from shared.messages import Command
from shared.messages.transfer import ExportRecords
from shared.pages import cursor_after, sort_key


async def export_records(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of a session's records of one kind, the oldest first."""
    asked: ExportRecords = command.data
    table = TABLES[asked.kind]
    if asked.kind == "task" and not asked.callbacks:
        table = TASKS_WITHOUT_CALLBACKS
    after = sort_key(asked.cursor, *table.order.values())
    if await store.sessions.find_session(tx, asked.session_id) is None:
        raise not_found("session", asked.session_id)
    records, place = await read_records(tx, table, asked.session_id, after, asked.limit)
    return {"records": records, "next": cursor_after(*place) if place else None}


QUERIES: dict[str, QueryHandler] = {"export_records": export_records}
