"""Asking for dead letters to be published again."""

from services.session_worker import store
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.system import RedriveDeadLetters


async def redrive_dead_letters(tx: Transaction, command: Command) -> Reply:
    """Have dead letters published again, soon after; those that were already, or wait for it, are not counted."""
    asked: RedriveDeadLetters = command.data
    return Reply({"redriven": await store.dead_letters.ask_redrive(tx, asked.dead_letter_ids)})


HANDLERS: dict[str, Handler] = {"redrive_dead_letters": redrive_dead_letters}
