"""SQL of dead letters."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages import encode


class Letter(NamedTuple):
    """A message that no worker could take, before it is kept."""

    key: str
    message_id: str | None
    exchange: str
    routing_key: str
    reason: str
    headers: dict[str, Any]
    body: bytes
    content_encoding: str | None
    attempts: int


class KeptLetter(NamedTuple):
    """A dead letter of the table; `body` is whole or its beginning, as asked for."""

    id: int
    message_id: str | None
    exchange: str
    routing_key: str
    reason: str
    headers: dict[str, Any]
    body: bytes
    content_encoding: str | None
    attempts: int
    created: datetime
    redriven: datetime | None


class FoundLetter(NamedTuple):
    """A dead letter, the bytes of its whole body, and whether it waits to be published again."""

    letter: KeptLetter
    size: int
    waiting: bool


_COLUMNS = """id, message_id, exchange, routing_key, reason, headers, {body} as body, content_encoding, attempts,
    created, redriven"""
_SHORT = _COLUMNS.format(body="substring(body for :beginning)")
_WHOLE = _COLUMNS.format(body="body")

# A dead letter, once; the update changes nothing, it makes the row of the first time come back. By the unique index on
# letter_key.
_INSERT = text(f"""
    insert into dead_letters
        (letter_key, message_id, exchange, routing_key, reason, headers, body, content_encoding, attempts)
    values (:key, :message_id, :exchange, :routing_key, :reason, cast(:headers as jsonb), :body, :content_encoding,
        :attempts)
    on conflict (letter_key) do update set letter_key = excluded.letter_key
    returning {_SHORT}
""")  # noqa: S608

# Why a message was given up, unless it was sent again since. By dead_letters_by_message.
_REASON = text("""
    select reason from dead_letters where message_id = :message_id and redriven is null order by id desc limit 1
""")

# Dead letters, the newest first, by the primary key.
_LIST = text(f"select {_SHORT} from dead_letters where id < :before order by id desc limit :limit")  # noqa: S608

# One dead letter with the size of its whole body, by the primary key.
_FIND = text(f"""
    select {_SHORT}, octet_length(body) as size, redrive_due is not null as waiting from dead_letters where id = :id
""")  # noqa: S608

# What became of dead letters that were to be published again, by the primary key.
_STATES = text("""
    select id, redriven is not null as redriven, redrive_due is not null as waiting
    from dead_letters where id = any(:ids) order by id
""")

# Mark dead letters to be published again; those that wait for it already, or were, keep their mark. By the primary key,
# or all of the table.
_ASK_SOME = text("""
    update dead_letters set redrive_due = now()
    where id = any(:ids) and redriven is null and redrive_due is null
""")
_ASK_ALL = text("update dead_letters set redrive_due = now() where redriven is null and redrive_due is null")

# The next ones to publish, by dead_letters_to_redrive. They are due again a minute later, should this process die.
_CLAIM = text(f"""
    update dead_letters set redrive_due = now() + interval '1 minute'
    where id in (
        select id from dead_letters where redrive_due <= now() order by redrive_due, id limit :limit
        for update skip locked
    )
    returning {_WHOLE}
""")  # noqa: S608

# Those that were published, and those that can't be, by the primary key.
_FINISH = text("""
    update dead_letters set redrive_due = null, redriven = case when id = any(:published) then now() end
    where id = any(:published) or id = any(:hopeless)
""")

_LAST = 2**63 - 1


async def insert_letter(tx: Transaction, letter: Letter, beginning: int) -> KeptLetter:
    """Keep a dead letter once; returns it as it was first kept, with the first `beginning` bytes of its body."""
    values = {**letter._asdict(), "headers": encode(letter.headers).decode(), "beginning": beginning}
    return _letter((await tx.execute(_INSERT, values)).one())


async def find_reason(tx: Transaction, message_id: str) -> str | None:
    """Why a message lies among the dead letters; None when it does not."""
    reason: str | None = (await tx.execute(_REASON, {"message_id": message_id})).scalar_one_or_none()
    return reason


async def list_letters(tx: Transaction, before: int | None, limit: int, beginning: int) -> list[KeptLetter]:
    """Up to `limit` dead letters with ids below `before`, the newest first; of each body `beginning` bytes."""
    values = {"before": _LAST if before is None else before, "limit": limit, "beginning": beginning}
    return [_letter(row) for row in await tx.execute(_LIST, values)]


async def find_letter(tx: Transaction, letter_id: int, beginning: int) -> FoundLetter | None:
    """A dead letter with the first `beginning` bytes of its body; None when there is none."""
    row = (await tx.execute(_FIND, {"id": letter_id, "beginning": beginning})).one_or_none()
    if row is None:
        return None
    letter = {name: row._mapping[name] for name in KeptLetter._fields}
    return FoundLetter(KeptLetter(**{**letter, "body": bytes(row.body)}), row.size, row.waiting)


async def redrive_states(tx: Transaction, ids: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Of these dead letters: which wait to be published again, which were, and which do neither."""
    rows = list(await tx.execute(_STATES, {"ids": ids}))
    waiting = [row.id for row in rows if row.waiting]
    redriven = [row.id for row in rows if row.redriven and not row.waiting]
    return waiting, redriven, [row.id for row in rows if not row.waiting and not row.redriven]


async def ask_redrive(tx: Transaction, ids: list[int] | None) -> int:
    """Mark dead letters to be published again, all if no ids are given; returns how many were marked."""
    asked = await (tx.execute(_ASK_ALL) if ids is None else tx.execute(_ASK_SOME, {"ids": ids}))
    return asked.rowcount


async def claim_redrives(tx: Transaction, limit: int) -> list[KeptLetter]:
    """Take up to `limit` dead letters to publish, whole; nobody else gets them for a minute."""
    return sorted(_letter(row) for row in await tx.execute(_CLAIM, {"limit": limit}))


async def finish_redrives(tx: Transaction, published: list[int], hopeless: list[int]) -> None:
    """Note which dead letters were published, and which can't be; neither is due any more."""
    await tx.execute(_FINISH, {"published": published, "hopeless": hopeless})


def _letter(row: Row[Any]) -> KeptLetter:
    return KeptLetter(**{**row._mapping, "body": bytes(row.body)})
