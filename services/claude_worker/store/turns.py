"""SQL of turns. Whoever changes one has locked its chat, and before that its partition if it needs it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.claude_worker.turns import Held
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
# A turn that is dropped at once is complete as well.
_ADD = text(f"""
    insert into turns ({", ".join(_ADDED)}, completed)
    values ({", ".join(f":{name}" for name in _ADDED)}, case when :status = 'dropped' then now() end)
    returning {COLUMNS}
""")  # noqa: S608

_OPEN = "status in ('queued', 'running', 'parked')"

# Whether a chat has turns that are open, by turns_open.
_HAS_OPEN = text(f"""
    select true from turns
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN} limit 1
""")  # noqa: S608

# The turn of a chat that comes first, by turns_open.
_FIRST_OPEN = text(f"""
    select {COLUMNS} from turns
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
    order by number limit 1 for update
""")  # noqa: S608

# By the primary key.
_LOCK = text(f"select {COLUMNS} from turns where turn_id = :turn_id for update")  # noqa: S608

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
    update turns set status = 'dropped', reason = :reason, completed = now()
    where partition = :partition and room_id = :room_id and bot_id = :bot_id and {_OPEN}
    returning {COLUMNS}
""")  # noqa: S608

# The chats of a partition that have something to do, by turns_open.
_OPEN_CHATS = text(f"""
    select room_id, bot_id from turns where partition = :partition and {_OPEN} group by room_id, bot_id
""")  # noqa: S608


async def add_turn(tx: Transaction, fields: dict[str, Any]) -> Held:
    """Write a new turn, queued or dropped."""
    return held_of((await tx.execute(_ADD, {**dict.fromkeys(_ADDED), **fields})).one())


async def has_open(tx: Transaction, partition: int, room_id: str, bot_id: str) -> bool:
    """Whether turns of a chat wait or run."""
    asked = {"partition": partition, "room_id": room_id, "bot_id": bot_id}
    return (await tx.execute(_HAS_OPEN, asked)).first() is not None


async def lock_first_open(tx: Transaction, partition: int, room_id: str, bot_id: str) -> Held | None:
    """Lock the first turn of a chat that is open."""
    row = (await tx.execute(_FIRST_OPEN, {"partition": partition, "room_id": room_id, "bot_id": bot_id})).first()
    return held_of(row) if row else None


async def lock_turn(tx: Transaction, turn_id: str) -> Held | None:
    """Lock a turn."""
    row = (await tx.execute(_LOCK, {"turn_id": turn_id})).first()
    return held_of(row) if row else None


async def save_turn(tx: Transaction, held: Held, *, begins: bool = False) -> Held:
    """Write what has become of a turn that is locked; `begins`: an attempt begins now."""
    saved = {name: getattr(held.turn, name) for name in _FIELDS if name not in (*_MOMENTS, "waited_ms")}
    row = await tx.execute(_SAVE, {**saved, "failures": held.failures, "epoch": held.epoch, "begins": begins})
    return held_of(row.one())


async def drop_open(tx: Transaction, partition: int, room_id: str, bot_id: str, reason: str) -> list[Held]:
    """Drop everything of a chat that is open; in the order of the turns."""
    asked = {"partition": partition, "room_id": room_id, "bot_id": bot_id, "reason": reason}
    return sorted(map(held_of, await tx.execute(_DROP_OPEN, asked)), key=lambda held: held.turn.number)


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
