"""SQL of posts: what the rooms of chat servers are still to be told, in its order."""

from sqlalchemy import text

from services.claude_worker.turns import Held
from shared.database import Transaction

_OWE = text("""
    insert into chat_posts (turn_id, room_id, bot_id, partition, reply_to, text)
    values (:turn_id, :room_id, :bot_id, :partition, :reply_to, :text)
""")


async def owe_post(tx: Transaction, held: Held, text: str) -> None:
    """Tell the room of a turn something, if it came by a door that takes answers."""
    if held.reply_to is not None:
        turn = held.turn
        place = {"turn_id": turn.turn_id, "room_id": turn.room_id, "bot_id": turn.bot_id, "partition": held.partition}
        await tx.execute(_OWE, {**place, "reply_to": held.reply_to, "text": text})
