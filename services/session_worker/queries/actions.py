"""Pages of a session's actions and responses."""

from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command
from shared.messages.actions import Action, GetActions, Response
from shared.pages import cursor_after, page_of, sort_key


async def get_actions(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of a session's actions and responses by their number, dealt into two lists."""
    asked: GetActions = command.data
    (after,) = sort_key(asked.cursor, int) or (0,)
    rows = await store.actions.list_page(tx, asked.session_id, asked.kind, after, asked.limit + 1)
    if not rows and await store.sessions.find_session(tx, asked.session_id) is None:
        raise not_found("session", asked.session_id)
    page, last = page_of(rows, asked.limit)
    return {
        "actions": [each for each in page if isinstance(each, Action)],
        "responses": [each for each in page if isinstance(each, Response)],
        "next": cursor_after(last.number) if last else None,
    }


QUERIES: dict[str, QueryHandler] = {"get_actions": get_actions}
