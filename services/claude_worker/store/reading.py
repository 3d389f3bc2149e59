"""SQL of questions about chats: lists and counts."""

from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.claude_worker.store.turns import COLUMNS, held_of
from shared.database import Transaction
from shared.messages.chat import Turn

# The newest first, by turns_newest; those of one chat by turns_of_chat.
_LIST = f"select {COLUMNS} from turns where {{wanted}} order by queued desc, turn_id desc limit :limit"  # noqa: S608
_FILTERS = {"room_id": "room_id = :room_id", "bot_id": "bot_id = :bot_id", "status": "status = :status"}

# Turns that are open, by turns_open.
_OPEN = text("""
    select status, count(*) as count, extract(epoch from now() - min(queued)) as oldest_s from turns
    where status in ('queued', 'running', 'parked') group by status
""")

# The chats that have open turns, those that wait longest first; by turns_open.
_OPEN_CHATS = text("""
    select room_id, bot_id, count(*) filter (where status = 'queued') as queued,
        count(*) filter (where status = 'running') as running, count(*) filter (where status = 'parked') as parked,
        extract(epoch from now() - min(queued)) as oldest_s
    from turns where status in ('queued', 'running', 'parked')
        and bot_id = coalesce(:bot_id, bot_id) and room_id = coalesce(:room_id, room_id)
    group by room_id, bot_id order by min(queued) limit 100
""")

# By the primary key.
_TODAY_BY_BOT = text("""
    select bot_id, sum(turns) as turns, sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
        sum(cost_usd) as cost_usd
    from chat_usage where day = current_date and room_id = coalesce(:room_id, room_id) group by bot_id
""")

# By the primary key.
_TODAY = text("""
    select coalesce(sum(turns), 0) as turns, coalesce(sum(input_tokens), 0) as input_tokens,
        coalesce(sum(output_tokens), 0) as output_tokens, coalesce(sum(cost_usd), 0) as cost_usd
    from chat_usage where day = current_date
        and bot_id = coalesce(:bot_id, bot_id) and room_id = coalesce(:room_id, room_id)
""")


NOTHING_USED: dict[str, Any] = {"turns": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0}


async def list_turns(
    tx: Transaction, wanted: dict[str, str | None], after: tuple[datetime, str] | None, limit: int
) -> list[Turn]:
    """Up to `limit` turns after a sort key, the newest first."""
    given = {name: value for name, value in wanted.items() if value is not None}
    where = [_FILTERS[name] for name in given]
    if after is not None:
        where.append("(queued, turn_id) < (:queued, :turn_id)")
        given |= {"queued": after[0], "turn_id": after[1]}  # type: ignore[dict-item]
    rows = await tx.execute(text(_LIST.format(wanted=" and ".join(where) or "true")), {**given, "limit": limit})
    return [held_of(row).turn for row in rows]


async def count_open(tx: Transaction) -> dict[str, Any]:
    """How many turns wait, run and are parked, and for how long the oldest has been open."""
    rows = list(await tx.execute(_OPEN))
    counts = dict.fromkeys(("queued", "running", "parked"), 0) | {row.status: row.count for row in rows}
    return {**counts, "oldest_s": round(max((float(row.oldest_s) for row in rows), default=0.0), 3)}


async def used_today(tx: Transaction, room_id: str | None, bot_id: str | None) -> dict[str, Any]:
    """What was used today, of any room and bot or of some."""
    return _used((await tx.execute(_TODAY, {"room_id": room_id, "bot_id": bot_id})).one())


async def used_today_by_bot(tx: Transaction, room_id: str | None) -> dict[str, dict[str, Any]]:
    """What each bot has used today, of any room or of one."""
    return {row.bot_id: _used(row) for row in await tx.execute(_TODAY_BY_BOT, {"room_id": room_id})}


async def open_chats(tx: Transaction, room_id: str | None, bot_id: str | None) -> list[dict[str, Any]]:
    """Up to 100 chats with what is open in each, of any room and bot or of some."""
    rows = await tx.execute(_OPEN_CHATS, {"room_id": room_id, "bot_id": bot_id})
    return [
        {
            "room_id": row.room_id,
            "bot_id": row.bot_id,
            "queued": row.queued,
            "running": row.running,
            "parked": row.parked,
            "oldest_s": round(float(row.oldest_s), 3),
        }
        for row in rows
    ]


def _used(row: Any) -> dict[str, Any]:
    return {
        "turns": int(row.turns),
        "input_tokens": int(row.input_tokens),
        "output_tokens": int(row.output_tokens),
        "cost_usd": float(row.cost_usd),
    }
