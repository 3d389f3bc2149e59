"""SQL of turns. Whoever changes one has locked its chat, and before that its partition if it needs it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from services.claude_worker.turns import Held, Waiting
from shared.database import Transaction
from shared.messages import rfc3339
from shared.messages.chat import Turn

# The columns that are fields of the noun, in its order.
_FIELDS = tuple(Turn.model_fields)
_MOMENTS = ("queued", "started", "completed")
_REST = (
    "partition", "message_id", "sender_agent_id", "hops", "trust", "traceparent", "user_id", "room_name", "reply_to",
    "failures", "epoch",
)  # fmt: skip
COLUMNS = ", ".join(dict.fromkeys((*_FIELDS, *_REST)))

_ADDED = (
    "turn_id", "room_id", "bot_id", "partition", "number", "status", "message_id", "sender_agent_id", "hops", "trust",
    "traceparent", "user_name", "user_id", "room_name", "text", "reply_to", "reason",
)  # fmt: skip
_OPEN = "status in ('queued', 'running', 'parked')"

# A turn that is dropped at once is complete as well. That its room was told that the bot is busy goes for all that is
# said until nothing is open any more, by turns_open.
_ADD = text(f"""
    insert into turns ({", ".join(_ADDED)}, completed, busy_told)
    values (
        {", ".join(f":{name}" for name in _ADDED)}, case when :status = 'dropped' then now() end,
        exists (
            select from turns as told
            where told.partition = :partition and told.room_id = :room_id and told.bot_id = :bot_id
                and told.{_OPEN} and told.busy_told
        )
    )
    returning {COLUMNS}, not exists (
        select from turns as other
        where other.partition = :partition and other.room_id = :room_id and other.bot_id = :bot_id and other.{_OPEN}
    ) as is_first
""")  # noqa: S608

# Whether a chat has turns that are open, by turns_open.
_HAS_OPEN = text(f"""
    select true from turns
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN} limit 1
""")  # noqa: S608

# The turn of a chat that comes first, whether others wait behind it, by turns_open; and whether its bot is off.
_FIRST_OPEN = text(f"""
    select {COLUMNS},
        exists (
            select from turns as behind
            where behind.partition = :partition and behind.room_id = :room_id and behind.bot_id = :bot_id
                and behind.{_OPEN} and behind.number > turns.number
        ) as more,
        exists (select from chat_switches where chat_switches.bot_id in (:bot_id, '')) as is_off
    from turns
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
    order by number limit 1 for update of turns
""")  # noqa: S608

# By the primary key.
_LOCK = text(f"select {COLUMNS} from turns where turn_id = :turn_id for update")  # noqa: S608

# The same, and whether others of its chat are open, by turns_open.
_LOCK_ATTEMPT = text(f"""
    select {COLUMNS},
        exists (
            select from turns as other
            where other.partition = turns.partition and other.room_id = turns.room_id and other.bot_id = turns.bot_id
                and other.{_OPEN} and other.turn_id <> turns.turn_id
        ) as more
    from turns where turn_id = :turn_id for update of turns
""")  # noqa: S608

# What becomes of a turn, by the primary key.
_SAVE = text(f"""
    update turns set
        status = :status, attempt = :attempt, failures = :failures, epoch = :epoch, answer = :answer, path = :path,
        reason = :reason, merged_into = :merged_into, input_tokens = :input_tokens, output_tokens = :output_tokens,
        cost_usd = :cost_usd, connect_ms = :connect_ms, answer_ms = :answer_ms,
        started = case when :begins then clock_timestamp() else started end,
        waited_ms = case when :begins then extract(epoch from clock_timestamp() - queued) * 1000 else waited_ms end,
        completed = case when :status in ('answered', 'failed', 'merged', 'dropped') then clock_timestamp() end
    where turn_id = :turn_id
    returning {COLUMNS}
""")  # noqa: S608

# Everything of a chat that is open, dropped; by turns_open.
_DROP_OPEN = text(f"""
    update turns set status = 'dropped', reason = :reason, merged_into = null, completed = now()
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
    returning {COLUMNS}
""")  # noqa: S608

# Everything of a chat that is open, for whoever answers it, by turns_open; and whether its bot is off.
_FIND_OPEN = text(f"""
    select {COLUMNS}, busy_told, extract(epoch from clock_timestamp() - queued) as waited_s,
        exists (select from chat_switches where chat_switches.bot_id in (:bot_id, '')) as is_off
    from turns
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
    order by number limit 100
""")  # noqa: S608

# Everything of a chat that is open, marked unless some of it was marked before; by turns_open.
_MARK_BUSY = text(f"""
    update turns set busy_told = true
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
        and not exists (
            select from turns as told
            where told.partition = :partition and told.room_id = :room_id and told.bot_id = :bot_id
                and told.{_OPEN} and told.busy_told
        )
    returning {COLUMNS}
""")  # noqa: S608

# Those of a chat that are open and have a newer one behind them, dropped; by turns_open.
_DROP_OLDER = text(f"""
    update turns set status = 'dropped', reason = 'interrupted', merged_into = null, completed = now()
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
        and number < (
            select max(number) from turns
            where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
        )
    returning {COLUMNS}
""")  # noqa: S608

# Those that are to be answered with one that was parked, by turns_open.
_JOINED = text(f"""
    select turn_id from turns
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
        and status = 'queued' and merged_into = :turn_id
    order by number
""")  # noqa: S608

# The chats of a bot, or of all, that are answered just now, then those that are parked: of few rows, all of turns_open.
_RUNNING_CHATS = text(f"""
    select room_id, bot_id from turns
    where {_OPEN} and status in ('running', 'parked') and bot_id = coalesce(:bot_id, bot_id)
    order by status = 'parked' limit :limit
""")  # noqa: S608

# The chats of a partition that have something to do, by turns_open.
_OPEN_CHATS = text(f"""
    select room_id, bot_id from turns where partition = :partition and {_OPEN} group by room_id, bot_id
""")  # noqa: S608


class First(NamedTuple):
    """The first turn of a chat that is open, whether others wait behind it, and whether its bot is switched off."""

    held: Held
    more: bool
    is_off: bool


async def add_turn(tx: Transaction, fields: dict[str, Any]) -> tuple[Held, bool]:
    """Write a new turn, queued or dropped; and whether no other of its chat is open."""
    row = (await tx.execute(_ADD, {**dict.fromkeys(_ADDED), **fields})).one()
    return held_of(row), row.is_first


async def has_open(tx: Transaction, partition: int, room_id: str, bot_id: str) -> bool:
    """Whether turns of a chat wait or run."""
    asked = {"partition": partition, "room_id": room_id, "bot_id": bot_id}
    return (await tx.execute(_HAS_OPEN, asked)).first() is not None


async def lock_first_open(tx: Transaction, partition: int, room_id: str, bot_id: str) -> First | None:
    """Lock the first turn of a chat that is open."""
    row = (await tx.execute(_FIRST_OPEN, {"partition": partition, "room_id": room_id, "bot_id": bot_id})).first()
    return First(held_of(row), row.more, row.is_off) if row else None


async def lock_turn(tx: Transaction, turn_id: str) -> Held | None:
    """Lock a turn."""
    row = (await tx.execute(_LOCK, {"turn_id": turn_id})).first()
    return held_of(row) if row else None


async def lock_attempt(tx: Transaction, turn_id: str) -> tuple[Held | None, bool]:
    """Lock a turn; and whether others of its chat are open."""
    row = (await tx.execute(_LOCK_ATTEMPT, {"turn_id": turn_id})).first()
    return (held_of(row), row.more) if row else (None, False)


async def save_turn(tx: Transaction, held: Held, *, begins: bool = False) -> Held:
    """Write what has become of a turn that is locked; `begins`: an attempt begins now."""
    saved = {name: getattr(held.turn, name) for name in _FIELDS if name not in (*_MOMENTS, "waited_ms")}
    row = await tx.execute(_SAVE, {**saved, "failures": held.failures, "epoch": held.epoch, "begins": begins})
    return held_of(row.one())


async def drop_open(tx: Transaction, partition: int, room_id: str, bot_id: str, reason: str) -> list[Held]:
    """Drop everything of a chat that is open; in the order of the turns."""
    asked = {"partition": partition, "room_id": room_id, "bot_id": bot_id, "reason": reason}
    return sorted(map(held_of, await tx.execute(_DROP_OPEN, asked)), key=lambda held: held.turn.number)


async def find_open(tx: Transaction, partition: int, room_id: str, bot_id: str) -> list[Waiting]:
    """What of a chat is open, in its order."""
    rows = await tx.execute(_FIND_OPEN, {"partition": partition, "room_id": room_id, "bot_id": bot_id})
    return [Waiting(held_of(row), float(row.waited_s), row.busy_told, row.is_off) for row in rows]


async def mark_busy(tx: Transaction, partition: int, room_id: str, bot_id: str) -> list[Held]:
    """Mark all turns of a chat that are open as told of, in their order; none when some of them were."""
    asked = {"partition": partition, "room_id": room_id, "bot_id": bot_id}
    return sorted(map(held_of, await tx.execute(_MARK_BUSY, asked)), key=lambda held: held.turn.number)


async def drop_older(tx: Transaction, partition: int, room_id: str, bot_id: str) -> list[Held]:
    """Drop everything of a chat that is open but the newest, as interrupted; in the order of the turns."""
    asked = {"partition": partition, "room_id": room_id, "bot_id": bot_id}
    return sorted(map(held_of, await tx.execute(_DROP_OLDER, asked)), key=lambda held: held.turn.number)


async def find_joined(tx: Transaction, held: Held) -> list[str]:
    """The turns that wait to be answered with a turn that was parked."""
    turn = held.turn
    asked = {"partition": held.partition, "room_id": turn.room_id, "bot_id": turn.bot_id, "turn_id": turn.turn_id}
    return [row.turn_id for row in await tx.execute(_JOINED, asked)]


async def running_chats(tx: Transaction, bot_id: str | None, limit: int) -> Sequence[tuple[str, str]]:
    """The rooms, each with its bot, in which a bot, or any, is answering or waits to be allowed something."""
    rows = await tx.execute(_RUNNING_CHATS, {"bot_id": bot_id, "limit": limit})
    return [(row.room_id, row.bot_id) for row in rows]


async def open_chats(tx: Transaction, partition: int) -> Sequence[tuple[str, str]]:
    """The chats of a partition that have turns which are open."""
    return [(row.room_id, row.bot_id) for row in await tx.execute(_OPEN_CHATS, {"partition": partition})]


def held_of(row: Any) -> Held:
    """A row of `COLUMNS`."""
    fields = {name: getattr(row, name) for name in _FIELDS}
    for name in _MOMENTS:
        moment: datetime | None = fields[name]
        fields[name] = None if moment is None else rfc3339(moment)
    return Held(Turn.trusted(fields), **{name: getattr(row, name) for name in _REST})
