"""SQL that forgets memories, and shows what is left of them."""

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg.types.json import Json

from services.memory_worker.store.memories import COLUMNS, memory_of, rows_of
from services.memory_worker.store.vectors import TABLE as VECTORS
from shared.database import Transaction, psycopg_of
from shared.messages import encode, rfc3339
from shared.messages.memory import Forgotten, MemoryVersion

# By the primary key.
_LOCK_SESSION: LiteralString = "select 1 from sessions where id = %s for no key update"

# Each version's content as it stands in replies, with the message it came by; both tables by their primary keys.
_CONTENTS: LiteralString = """
    select message_id, content::text, tags from memories where session_id = %(session_id)s and key = %(key)s
    union all
    select message_id, content::text, tags from memory_versions
    where session_id = %(session_id)s and key = %(key)s and forgotten is null
"""

# What the worker would answer if one of these messages came again. By the primary key.
_REPLIES: LiteralString = "select message_id, reply from handled_messages where message_id = any(%s) for update"
_REPLACE_REPLY: LiteralString = "update handled_messages set reply = %s where message_id = %s"

# The memory without its content, and so without its words; nothing waits to be told of it. By the primary key.
_FORGET: LiteralString = f"""
    update memories set
        content = 'null', tags = '{{}}', content_hash = null, told_version = null, told_at = null, cause = null,
        forgotten = json_build_object(
            'at', to_char(statement_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'by', %(by)s::text, 'message_id', %(message_id)s::text, 'reason', %(reason)s::text
        )
    where session_id = %(session_id)s and key = %(key)s and forgotten is null
    returning {COLUMNS}, null as replaced, forgotten
"""  # noqa: S608

# By the primary key.
_FORGET_VERSIONS: LiteralString = """
    update memory_versions set content = 'null', tags = '{}', forgotten = %(forgotten)s
    where session_id = %(session_id)s and key = %(key)s and forgotten is null
"""

# Every version of a memory, the newest first; by the primary keys of both tables.
_VERSIONS: LiteralString = f"""
    select {COLUMNS}, null as replaced, forgotten from memories
    where session_id = %(session_id)s and key = %(key)s and version < %(before)s
    union all
    select {COLUMNS}, replaced, forgotten from memory_versions
    where session_id = %(session_id)s and key = %(key)s and version < %(before)s
    order by version desc limit %(limit)s
"""  # noqa: S608


async def lock_session(tx: Transaction, session_id: str) -> bool:
    """Keep others from writing to a session; whether it exists."""
    cursor = await (await psycopg_of(tx)).execute(_LOCK_SESSION, [session_id])
    return await cursor.fetchone() is not None


async def find_forgotten(tx: Transaction, session_id: str, key: str) -> MemoryVersion | None:
    """What is left of a memory, when it is forgotten."""
    versions = await list_versions(tx, session_id, key, before=2**31 - 1, limit=1)
    return versions[0] if versions and versions[0].forgotten else None


async def forget(tx: Transaction, session_id: str, key: str, fact: dict[str, Any]) -> MemoryVersion | None:
    """Erase what a memory says: in all its versions, their words and vectors, and in the replies kept for repetitions.

    `fact` is by whom, in which message and why; None when there is no such memory.
    """
    connection = await psycopg_of(tx)
    place = {"session_id": session_id, "key": key}
    contents = await (await connection.execute(_CONTENTS, place)).fetchall()
    rows = await rows_of(tx, _FORGET, {**place, **fact})
    if not rows:
        return None
    (row,) = rows
    await connection.execute(_FORGET_VERSIONS, {**place, "forgotten": Json(row.forgotten)})
    await _forget_replies(tx, contents)
    if (found := await (await connection.execute("select to_regclass(%s)", [VECTORS])).fetchone()) and found[0]:
        await connection.execute(f"delete from {VECTORS} where session_id = %(session_id)s and key = %(key)s", place)  # noqa: S608
    return version_of(row)


async def list_versions(tx: Transaction, session_id: str, key: str, *, before: int, limit: int) -> list[MemoryVersion]:
    """Up to `limit` versions of a memory before one of them, the newest first."""
    values = {"session_id": session_id, "key": key, "before": before, "limit": limit}
    return [version_of(row) for row in await rows_of(tx, _VERSIONS, values)]


def version_of(row: Any) -> MemoryVersion:
    """The version of a row of `COLUMNS`, `replaced` and `forgotten`."""
    return MemoryVersion(
        **memory_of(row).__dict__,
        replaced=None if row.replaced is None else rfc3339(row.replaced),
        forgotten=None if row.forgotten is None else Forgotten(**row.forgotten),
    )


async def _forget_replies(tx: Transaction, contents: Sequence[tuple[str, str, list[str]]]) -> None:
    connection = await psycopg_of(tx)
    cursor = await connection.execute(_REPLIES, [[message_id for message_id, _, _ in contents]])
    for message_id, reply in await cursor.fetchall():
        erased = reply
        for said_by, content, tags in contents:
            if said_by == message_id:
                # Contents stand in replies as they stand in the table: both keep the sender's text.
                said = f'"content":{content},"tags":{encode(tags).decode()}'
                erased = erased.replace(said, '"content":null,"tags":[]')
        if erased != reply:
            await connection.execute(_REPLACE_REPLY, [erased, message_id])
