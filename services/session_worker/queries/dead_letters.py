"""Dead letters: lists of them, one of them, and what became of those that were to go out again."""

from typing import Any

from services.session_worker import store
from services.session_worker.dead_letters import BEGINNING, MUCH, as_noun, as_whole
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command
from shared.messages.system import GetDeadLetter, GetRedrive, ListDeadLetters
from shared.pages import cursor_after, page_of, sort_key


async def list_dead_letters(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of dead letters, the newest first."""
    asked: ListDeadLetters = command.data
    (before,) = sort_key(asked.cursor, int) or (None,)
    rows = await store.dead_letters.list_letters(tx, before, asked.limit + 1, BEGINNING)
    letters, last = page_of(rows, asked.limit)
    shown = [as_noun(letter, to_admin=command.by_admin) for letter in letters]
    return {"dead_letters": shown, "next": cursor_after(last.id) if last else None}


async def get_dead_letter(tx: Transaction, command: Command) -> dict[str, Any]:
    """One dead letter."""
    asked: GetDeadLetter = command.data
    found = await store.dead_letters.find_letter(tx, asked.dead_letter_id, MUCH)
    if found is None:
        raise Rejected(
            "not_found", f"dead letter {asked.dead_letter_id} does not exist", dead_letter_id=asked.dead_letter_id
        )
    return {"dead_letter": as_whole(found, to_admin=command.by_admin)}


async def get_redrive(tx: Transaction, command: Command) -> dict[str, Any]:
    """What became of dead letters that were to be published again; those that don't exist are left out."""
    asked: GetRedrive = command.data
    waiting, redriven, kept = await store.dead_letters.redrive_states(tx, asked.dead_letter_ids)
    return {"waiting": waiting, "redriven": redriven, "kept": kept}


QUERIES: dict[str, QueryHandler] = {
    query.__name__: query for query in (list_dead_letters, get_dead_letter, get_redrive)
}
