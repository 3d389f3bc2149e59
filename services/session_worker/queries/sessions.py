"""Sessions by their id, and lists of them."""

from datetime import datetime
from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command
from shared.messages.session import GetSession, ListSessions
from shared.pages import cursor_after, page_of, sort_key


async def get_session(tx: Transaction, command: Command) -> dict[str, Any]:
    """One session."""
    asked: GetSession = command.data
    session = await store.sessions.find_session(tx, asked.session_id)
    if session is None:
        raise not_found("session", asked.session_id)
    return {"session": session}


async def list_sessions(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of sessions, the most recently active first."""
    asked: ListSessions = command.data
    rows = await store.sessions.list_sessions(tx, asked.status, sort_key(asked.cursor, datetime, str), asked.limit + 1)
    sessions, last = page_of(rows, asked.limit)
    return {"sessions": sessions, "next": cursor_after(last.last_activity, last.session_id) if last else None}


QUERIES: dict[str, QueryHandler] = {query.__name__: query for query in (get_session, list_sessions)}
