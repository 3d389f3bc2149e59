"""SQL of conversations that are kept no longer, and of those whose clients live."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import encode


class Kept(NamedTuple):
    """What the records say of a chat whose client lives."""

    claude_session: str | None
    idle_minutes: float | None


class Expired(NamedTuple):
    """A chat that is kept no longer."""

    room_id: str
    bot_id: str
    claude_session: str | None


# Chats where nothing was said for longer than they are kept, locked, the oldest first, by chats_by_activity; those that
# somebody talks in just now are left out, and by turns_open those that still wait for something.
_EXPIRED = text("""
    select room_id, bot_id, claude_session from chats
    where last_activity < now() - make_interval(secs => 86400 * coalesce(
            keep_days, cast(cast(:keep as json) ->> bot_id as double precision), :days
        ))
        and not exists (
            select from turns where status in ('queued', 'running', 'parked')
                and turns.room_id = chats.room_id and turns.bot_id = chats.bot_id
        )
    order by last_activity limit :count for update skip locked
""")

# By chat_transcripts_in_order.
_FORGET = text("delete from chat_transcripts where claude_session = :claude_session")

# What is owed to rooms and waits to be allowed goes with them; by turns_of_chat and the primary key.
_DELETE_TURNS = text("""
    delete from turns where turn_id in (
        select turn_id from turns where room_id = :room_id and bot_id = :bot_id order by number limit :count
    )
""")

# By the primary key, as all below.
_DELETE_CHAT = text("delete from chats where room_id = :room_id and bot_id = :bot_id")
_EMPTY_CHAT = text("update chats set claude_session = null where room_id = :room_id and bot_id = :bot_id")
_CHATS = text("""
    select room_id, bot_id, claude_session, idle_minutes from chats
    where (room_id, bot_id) in (select * from unnest(cast(:room_ids as text[]), cast(:bot_ids as text[])))
""")

# By turns_open.
_OPEN = text("""
    select status, count(*) as count from turns
    where partition = any(cast(:partitions as smallint[])) and status in ('queued', 'running', 'parked')
    group by status
""")


async def lock_expired(tx: Transaction, keep: Mapping[str, float], days: float, count: int) -> list[Expired]:
    """Lock up to `count` chats that are kept no longer: by their own days, those of `keep` for their bot, or `days`."""
    rows = await tx.execute(_EXPIRED, {"keep": encode(keep).decode(), "days": days, "count": count})
    return [Expired(*row) for row in rows]


async def forget(tx: Transaction, chat: Expired, turns: int) -> tuple[bool, int]:
    """Delete what Claude remembers of a chat that is locked, up to `turns` of its turns, and it if no more are left.

    Whether it is gone, and how many rows went.
    """
    place = {"room_id": chat.room_id, "bot_id": chat.bot_id}
    lines = 0
    if chat.claude_session is not None:
        lines = (await tx.execute(_FORGET, {"claude_session": chat.claude_session})).rowcount
    deleted = (await tx.execute(_DELETE_TURNS, {**place, "count": turns})).rowcount
    is_gone = deleted < turns
    await tx.execute(_DELETE_CHAT if is_gone else _EMPTY_CHAT, place)
    return is_gone, lines + deleted


async def find_chats(tx: Transaction, asked: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Kept]:
    """What the records say of these chats; those that are not there are left out."""
    rooms, bots = zip(*asked, strict=True)
    rows = await tx.execute(_CHATS, {"room_ids": list(rooms), "bot_ids": list(bots)})
    return {(row.room_id, row.bot_id): Kept(row.claude_session, row.idle_minutes) for row in rows}


async def count_open(tx: Transaction, partitions: Collection[int]) -> dict[str, int]:
    """How many turns of these partitions wait, run and are parked."""
    rows = await tx.execute(_OPEN, {"partitions": list(partitions)})
    return dict.fromkeys(("queued", "running", "parked"), 0) | {status: int(count) for status, count in rows}
