"""Lists of dead letters."""

from typing import Any

from services.session_worker import store
from services.session_worker.dead_letters import BEGINNING, as_noun
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.messages import Command
from shared.messages.system import ListDeadLetters
from shared.pages import cursor_after, page_of, sort_key


async def list_dead_letters(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of dead letters, the newest first."""
    asked: ListDeadLetters = command.data
    (before,) = sort_key(asked.cursor, int) or (None,)
    rows = await store.dead_letters.list_letters(tx, before, asked.limit + 1, BEGINNING)
    letters, last = page_of(rows, asked.limit)
    return {"dead_letters": [as_noun(letter) for letter in letters], "next": cursor_after(last.id) if last else None}


QUERIES: dict[str, QueryHandler] = {"list_dead_letters": list_dead_letters}
