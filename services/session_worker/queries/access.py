"""API keys and the audit log."""

from datetime import datetime
from typing import Any

from services.session_worker import live, store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import invalid
from shared.messages import Command
from shared.messages.access import ListAudit, ListKeys
from shared.pages import cursor_after, page_of, sort_key

Result = dict[str, Any]


async def list_keys(tx: Transaction, command: Command) -> Result:
    """A page of keys by name."""
    asked: ListKeys = command.data
    (after,) = sort_key(asked.cursor, str) or (None,)
    keys, last = page_of(await store.keys.list_keys(tx, after, asked.limit + 1), asked.limit)
    return {"keys": keys, "next": cursor_after(last.name) if last else None}


async def get_key_ring(tx: Transaction, command: Command) -> Result:
    """What the doors know of the keys, and of the tokens that are out of force."""
    keys, revoked = await store.keys.find_ring(tx)
    tokens = await store.live.list_revoked(tx, live.TOKENS_KEPT)
    return {"keys": keys, "revoked": revoked, "revoked_tokens": tokens}


async def list_audit(tx: Transaction, command: Command) -> Result:
    """A page of the audit log, the newest first."""
    asked: ListAudit = command.data
    filters = {
        "key": asked.key,
        "command": asked.command,
        "session_id": asked.session_id,
        "since": _moment(asked.since, "since"),
        "until": _moment(asked.until, "until"),
    }
    before = sort_key(asked.cursor, datetime, int)
    entries, last = page_of(await store.audit.list_entries(tx, filters, before, asked.limit + 1), asked.limit)
    return {"entries": entries, "next": cursor_after(last.timestamp, last.audit_id) if last else None}


def _moment(text: str | None, field: str) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise invalid(
            f"`{field}` is not a moment: {error}", fields=[{"field": field, "fault": str(error), "kind": "moment"}]
        ) from None


QUERIES: dict[str, QueryHandler] = {
    "list_keys": list_keys,
    "get_key_ring": get_key_ring,
    "list_audit": list_audit,
}
