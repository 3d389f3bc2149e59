"""What a room is told of a bot that is busy: once, until nothing waits there any more."""

from services.claude_worker.store import chats, posts, turns
from services.claude_worker.store.registry import Ownership
from services.claude_worker.turns import Held
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command, Event
from shared.messages.chat import RunTurns
from shared.messages.chat_events import ChatBusy

WAITS = "I am still busy with an earlier message; yours comes after it."
REJECTED = "I am busy with another message and take no second one meanwhile; please say it again when I have answered."


def tell_busy(ownership: Ownership) -> Handler:
    """Tell a room that a message of its waits, unless it was told. Raises `Fenced`."""

    async def run(tx: Transaction, command: Command) -> Reply:
        data: RunTurns = command.data
        await chats.hold_chat(tx, ownership, data.room_id, data.bot_id)
        told = await turns.mark_busy(tx, ownership.partition, data.room_id, data.bot_id)
        waiting = next((held for held in told if held.turn.status == "queued"), None)
        events: list[Event] = []
        if waiting is not None:
            await posts.owe_post(tx, waiting, WAITS)
            events.append(waiting.told(ChatBusy))
        return Reply({"turns": len(told)}, events, stamped=True)

    return run


async def tell_rejected(tx: Transaction, held: Held) -> None:
    """Tell a room that a message of its was refused for others that are answered, unless it was told."""
    if await turns.mark_busy(tx, held.partition, held.turn.room_id, held.turn.bot_id):
        await posts.owe_post(tx, held, REJECTED)
