"""SQL of chats: a bot in a room, and which Claude session they are in."""

from typing import Any, NamedTuple

from sqlalchemy import text

from services.claude_worker.store.registry import Fenced, Ownership, hold
from services.claude_worker.turns import Held
from shared.database import Transaction
from shared.messages import rfc3339
from shared.messages.chat import Chat


class HeldChat(NamedTuple):
    """A chat that is locked: the noun, and what only the worker needs to know."""

    chat: Chat
    claude_session: str | None
    # Whether anything came from outside since they began.
    untrusted: bool = False
    # The turn that was parked, or goes on from there: what it has said so far is in the transcript.
    parked_turn: str | None = None


_COLUMNS = """room_id, bot_id, conversation, last_turn, idle_minutes, keep_days, created, last_activity, claude_session,
    untrusted, parked_turn"""

# A chat, made if it is not there, and locked until the transaction ends; by the primary key.
_LOCK = text(f"""
    insert into chats (room_id, bot_id, last_turn) values (:room_id, :bot_id, :more)
    on conflict (room_id, bot_id) do update set last_activity = now(), last_turn = chats.last_turn + excluded.last_turn
    returning {_COLUMNS}
""")  # noqa: S608

# A chat that is there and locked until the transaction ends, and whether its partition is the worker's, which it stays
# as long; by the primary keys. Share: see `registry.hold`.
_HOLD = text(f"""
    with fence as materialized (
        select true from chat_partitions where partition = :partition and owner = :owner and epoch = :epoch for share
    )
    select {_COLUMNS}, exists (select from fence) as held from chats
    where room_id = :room_id and bot_id = :bot_id for no key update of chats
""")  # noqa: S608

# By the primary key.
_SAVE = text("""
    update chats set
        last_turn = :last_turn, conversation = :conversation, claude_session = :claude_session,
        idle_minutes = :idle_minutes, keep_days = :keep_days, untrusted = :untrusted, parked_turn = :parked_turn
    where room_id = :room_id and bot_id = :bot_id
""")

# By the primary key.
_EXISTS = text("select true from chats where room_id = :room_id and bot_id = :bot_id")


async def exists(tx: Transaction, room_id: str, bot_id: str) -> bool:
    """Whether a bot and a room have ever talked."""
    return (await tx.execute(_EXISTS, {"room_id": room_id, "bot_id": bot_id})).first() is not None


# By the primary keys: of one that was begun anew the attempt is none any more.
_TRUST = text("""
    select chats.untrusted from turns join chats using (room_id, bot_id)
    where turn_id = :turn_id and status = 'running' and attempt = :attempt and epoch = :epoch
""")


async def lock_chat(tx: Transaction, room_id: str, bot_id: str, *, more: int = 0) -> HeldChat:
    """Lock a chat, which is made if it is not there; it has so many turns more from now on."""
    return _held((await tx.execute(_LOCK, {"room_id": room_id, "bot_id": bot_id, "more": more})).one())


async def hold_chat(tx: Transaction, ownership: Ownership, room_id: str, bot_id: str) -> HeldChat:
    """Lock a chat of a partition, and keep that, until the transaction ends. Raises `Fenced` when it is not ours."""
    row = (await tx.execute(_HOLD, {"room_id": room_id, "bot_id": bot_id, **ownership._asdict()})).first()
    if row is None:
        # Forgotten, or not there yet.
        await hold(tx, ownership)
        return await lock_chat(tx, room_id, bot_id)
    if not row.held:
        raise Fenced.of(ownership)
    return _held(row)


def _held(row: Any) -> HeldChat:
    chat = Chat.trusted(
        {
            "room_id": row.room_id,
            "bot_id": row.bot_id,
            "conversation": row.conversation,
            "turns": row.last_turn,
            "idle_minutes": row.idle_minutes,
            "keep_days": row.keep_days,
            "created": rfc3339(row.created),
            "last_activity": rfc3339(row.last_activity),
        }
    )
    return HeldChat(chat, row.claude_session, row.untrusted, row.parked_turn)


async def is_untrusted(tx: Transaction, held: Held) -> bool | None:
    """Whether anything of the conversation of an attempt came from outside; None when the attempt is over."""
    asked = {"turn_id": held.turn.turn_id, "attempt": held.turn.attempt, "epoch": held.epoch}
    row = (await tx.execute(_TRUST, asked)).first()
    return None if row is None else bool(row.untrusted)


async def save_chat(tx: Transaction, held: HeldChat) -> None:
    """Write a chat that is locked."""
    chat = held.chat
    await tx.execute(
        _SAVE,
        {
            "room_id": chat.room_id,
            "bot_id": chat.bot_id,
            "last_turn": chat.turns,
            "conversation": chat.conversation,
            "claude_session": held.claude_session,
            "idle_minutes": chat.idle_minutes,
            "keep_days": chat.keep_days,
            "untrusted": held.untrusted,
            "parked_turn": held.parked_turn,
        },
    )
