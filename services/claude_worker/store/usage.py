"""SQL of what bots use, by room and day (UTC). The row of the room '' says of the whole bot whether it was warned."""

from typing import Any, NamedTuple

from sqlalchemy import text

from services.claude_worker.budgets import Used
from shared.database import Transaction
from shared.messages.chat import Spent


class Day(NamedTuple):
    """What was used today, in a room and by the bot in all its rooms, and whether the room was told that it is all."""

    day: str
    room: Used
    bot: Used
    is_refused: bool


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

# What all rooms of a bot have used, or only one of them; by the primary key.
_TODAY = text("""
    select current_date::text as day, room_id = :room_id as here, sum(turns) as turns,
        sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens, sum(cost_usd) as cost_usd,
        bool_or(refused) as refused
    from (
        select room_id, turns, input_tokens, output_tokens, cost_usd, refused from chat_usage
        where day = current_date and bot_id = :bot_id and (cast(:every_room as boolean) or room_id = :room_id)
        union all select :room_id, 0, 0, 0, 0, false
    ) as rows
    group by 2
""")

# Said once on a day; by the primary key.
_TELL = """
    insert into chat_usage (day, bot_id, room_id, {what}) values (current_date, :bot_id, :room_id, true)
    on conflict (day, bot_id, room_id) do update set {what} = true where not chat_usage.{what}
    returning true
"""
_WARN = text(_TELL.format(what="warned"))
_REFUSE = text(_TELL.format(what="refused"))


async def add_usage(tx: Transaction, room_id: str, bot_id: str, spent: Spent, *, turns: int) -> None:
    """Count what an attempt has used, also one that failed."""
    await tx.execute(_ADD, {"room_id": room_id, "bot_id": bot_id, "turns": turns, **spent.model_dump()})


async def find_day(tx: Transaction, room_id: str, bot_id: str, *, every_room: bool) -> Day:
    """What was used today; by the bot (`every_room` false: no more is looked at) as much as by the room."""
    rows = (await tx.execute(_TODAY, {"room_id": room_id, "bot_id": bot_id, "every_room": every_room})).all()
    used = {row.here: _used(row) for row in rows}
    is_refused = any(row.here and row.refused for row in rows)
    return Day(rows[0].day, used[True], used[True].plus(used.get(False, Used())), is_refused)


async def warn_once(tx: Transaction, room_id: str, bot_id: str) -> bool:
    """Whether nobody was warned today of what a room, or ('') the whole bot, has used; from now on somebody was."""
    return (await tx.execute(_WARN, {"room_id": room_id, "bot_id": bot_id})).first() is not None


async def refuse_once(tx: Transaction, room_id: str, bot_id: str) -> bool:
    """Whether the room was not told today that nothing is left; from now on it was."""
    return (await tx.execute(_REFUSE, {"room_id": room_id, "bot_id": bot_id})).first() is not None


def _used(row: Any) -> Used:
    return Used(int(row.turns), int(row.input_tokens), int(row.output_tokens), float(row.cost_usd))
