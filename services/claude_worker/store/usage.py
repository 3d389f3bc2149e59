"""SQL of what bots use, by room and day (UTC)."""

from sqlalchemy import text

from shared.database import Transaction
from shared.messages.chat import Spent

# By the primary key.
_ADD = text("""
    insert into chat_usage (day, bot_id, room_id, turns, input_tokens, output_tokens, cost_usd)
    values (current_date, :bot_id, :room_id, :turns, :input_tokens, :output_tokens, :cost_usd)
    on conflict (day, bot_id, room_id) do update set
        turns = chat_usage.turns + excluded.turns,
        input_tokens = chat_usage.input_tokens + excluded.input_tokens,
        output_tokens = chat_usage.output_tokens + excluded.output_tokens,
        cost_usd = chat_usage.cost_usd + excluded.cost_usd
""")


async def add_usage(tx: Transaction, room_id: str, bot_id: str, spent: Spent, *, turns: int) -> None:
    """Count what an attempt has used, also one that failed."""
    await tx.execute(_ADD, {"room_id": room_id, "bot_id": bot_id, "turns": turns, **spent.model_dump()})
