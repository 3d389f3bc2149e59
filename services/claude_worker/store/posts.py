"""SQL of posts: what the rooms of chat servers are still to be told, in its order."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text

from services.claude_worker.store.turns import COLUMNS, held_of
from services.claude_worker.turns import Held
from shared.database import Transaction
from shared.sealing import CALLBACK


class Post(NamedTuple):
    """Something that a room is still to be told.

    `part` of its messages are there; one more may be if `unsure`. `age_s`: for how long it is owed.
    """

    post_id: int
    turn_id: str
    room_id: str
    bot_id: str
    partition: int
    reply_to: str
    text: str
    attempts: int
    part: int
    unsure: bool
    ends: bool
    age_s: float


class _Owing:
    """When something was owed last; most turns owe nothing, and nobody needs to look then."""

    at = float("-inf")


_MOMENT_SECONDS = 1.0

_OWE = text("""
    insert into chat_posts (turn_id, room_id, bot_id, partition, reply_to, text)
    values (:turn_id, :room_id, :bot_id, :partition, :reply_to, :text)
""")

# That turns were dropped, or merged into another, is owed to those who are called back, once; by turns_to_call_back.
_OWE_ENDS = text("""
    with ended as (
        update turns set called_back = true
        where partition = any (:partitions)
            and reply_to like 'callback:%' and status in ('dropped', 'merged') and not called_back
        returning turn_id, room_id, bot_id, partition, reply_to, merged_into, queued
    )
    insert into chat_posts (turn_id, room_id, bot_id, partition, reply_to, text, ends)
    select ended.turn_id, ended.room_id, ended.bot_id, ended.partition, ended.reply_to,
        coalesce((select answer from turns as other where other.turn_id = ended.merged_into), ''), true
    from ended order by ended.queued
""")

# What each chat of these partitions is to be told next, where that is due; by chat_posts_waiting.
_NEXT = text("""
    select * from (
        select distinct on (partition, room_id, bot_id)
            post_id, turn_id, room_id, bot_id, partition, reply_to, text, attempts, part, unsure, ends,
            extract(epoch from now() - created)::float8 as age_s, due
        from chat_posts
        where status = 'waiting' and partition = any (:partitions)
        order by partition, room_id, bot_id, post_id
    ) as first
    where due <= now() and post_id <> all (:under_way) order by post_id limit 100
""")

# One attempt more, in which nobody else has a say for as long as it may take; by the primary key.
_BEGIN = text("""
    update chat_posts set
        attempts = attempts + 1, unsure = true, due = clock_timestamp() + make_interval(secs => :seconds)
    where post_id = :post_id and status = 'waiting' and part = :part
    returning true
""")

# What has come of it, by the primary key. What the room has need not be kept twice, nor where it went.
_SAVE = text("""
    update chat_posts set
        part = :part, unsure = :unsure, message_ref = coalesce(:message_ref, message_ref), last_error = :error,
        attempts = case when part < :part then 0 else attempts end, status = :status,
        due = clock_timestamp() + make_interval(secs => :wait),
        ended = case when :status <> 'waiting' then now() end,
        text = case when :status = 'sent' then '' else text end,
        reply_to = case when :status = 'waiting' then reply_to else '' end
    where post_id = :post_id and status = 'waiting' and part <= :part
""")

# The last message that a chat has had from us, as far as it is known; by chat_posts_last, and by the primary key.
_LAST_REF = text("""
    select message_ref from chat_posts
    where room_id = :room_id and bot_id = :bot_id and message_ref is not null order by post_id desc limit 1
""")

# By the primary key.
_TURN = text(f"select {COLUMNS} from turns where turn_id = :turn_id")  # noqa: S608

# Of the chats of a partition, whether one is to be told something; by chat_posts_waiting.
_WAITS = text("""
    select true from chat_posts
    where status = 'waiting' and partition = :partition and room_id = :room_id and bot_id = :bot_id limit 1
""")

# By chat_posts_waiting.
_COUNT = text("""
    select count(*) as count, extract(epoch from now() - min(created)) as oldest_s from chat_posts
    where status = 'waiting'
""")

# All by the primary key.
_BEGIN_DRAFT = text("insert into chat_drafts (turn_id) values (:turn_id) on conflict do nothing")
_SAVE_DRAFT = text("update chat_drafts set message_ref = :message_ref where turn_id = :turn_id")
_DRAFT = text("select message_ref from chat_drafts where turn_id = :turn_id")
_DROP_DRAFT = text("delete from chat_drafts where turn_id = :turn_id")


async def owe_post(tx: Transaction, held: Held, text: str) -> None:
    """Tell the room of a turn something, if it came by a door that takes answers."""
    if held.reply_to is not None:
        _Owing.at = time.monotonic()
        turn = held.turn
        place = {"turn_id": turn.turn_id, "room_id": turn.room_id, "bot_id": turn.bot_id, "partition": held.partition}
        await tx.execute(_OWE, {**place, "reply_to": held.reply_to, "text": text})


async def owe_answer(tx: Transaction, held: Held) -> None:
    """Tell the room of a turn that has ended its answer. An empty one only those hear who are called back."""
    if held.turn.answer or (held.reply_to or "").startswith(CALLBACK):
        await owe_post(tx, held, held.turn.answer or "")


def is_owed() -> bool:
    """Whether a transaction of this process has owed something a moment ago: what a commit is about, perhaps."""
    return time.monotonic() - _Owing.at < _MOMENT_SECONDS


async def owe_ends(tx: Transaction, partitions: Sequence[int]) -> None:
    """Owe it to those who are called back that what they have said was dropped, or merged into another turn."""
    await tx.execute(_OWE_ENDS, {"partitions": list(partitions)})


async def next_posts(tx: Transaction, partitions: Sequence[int], under_way: Sequence[int]) -> list[Post]:
    """What each chat of these partitions is to be told next, the oldest first, up to 100 of them.

    Those that must wait are left out, and those that are under way.
    """
    rows = await tx.execute(_NEXT, {"partitions": list(partitions), "under_way": list(under_way)})
    return [Post(**{name: getattr(row, name) for name in Post._fields}) for row in rows]


async def begin_attempt(tx: Transaction, post: Post, seconds: float) -> bool:
    """Begin an attempt, which may take so many seconds; False when there is nothing more to do."""
    asked = {"post_id": post.post_id, "part": post.part, "seconds": seconds}
    return (await tx.execute(_BEGIN, asked)).first() is not None


async def save_attempt(tx: Transaction, post: Post, **what: Any) -> None:
    """Write what has become of a post: `status`, `part`, `unsure`, `message_ref`, `error`, `wait`."""
    fields = {"part": post.part, "unsure": False, "message_ref": None, "error": None, "wait": 0.0, **what}
    await tx.execute(_SAVE, {"post_id": post.post_id, **fields})


async def last_ref(tx: Transaction, post: Post) -> str | None:
    """The last message that the chat of a post has had from us, by the chat server's number, if it told one."""
    row = (await tx.execute(_LAST_REF, {"room_id": post.room_id, "bot_id": post.bot_id})).first()
    return row.message_ref if row else None


async def turn_of(tx: Transaction, post: Post) -> Held:
    """The turn that a post belongs to."""
    return held_of((await tx.execute(_TURN, {"turn_id": post.turn_id})).one())


async def waits(tx: Transaction, partition: int, room_id: str, bot_id: str) -> bool:
    """Whether a chat is still to be told something."""
    asked = {"partition": partition, "room_id": room_id, "bot_id": bot_id}
    return (await tx.execute(_WAITS, asked)).first() is not None


async def count_waiting(tx: Transaction) -> dict[str, Any]:
    """How much rooms are still to be told, and for how long the oldest of it waits."""
    row = (await tx.execute(_COUNT)).one()
    return {"waiting": row.count, "oldest_s": round(float(row.oldest_s or 0), 3)}


async def begin_draft(tx: Transaction, turn_id: str) -> None:
    """A message that grows is about to be posted for a turn."""
    await tx.execute(_BEGIN_DRAFT, {"turn_id": turn_id})


async def save_draft(tx: Transaction, turn_id: str, message_ref: str | None) -> None:
    """The message that grows is this one; None: there is none."""
    if message_ref is None:
        await tx.execute(_DROP_DRAFT, {"turn_id": turn_id})
    else:
        await tx.execute(_SAVE_DRAFT, {"turn_id": turn_id, "message_ref": message_ref})


async def find_draft(tx: Transaction, turn_id: str) -> tuple[bool, str | None]:
    """Whether a turn has, or may have, a message that grows; and which one, if that is known."""
    row = (await tx.execute(_DRAFT, {"turn_id": turn_id})).first()
    return row is not None, row.message_ref if row else None
