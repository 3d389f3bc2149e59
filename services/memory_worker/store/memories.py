"""SQL that stores memories and reads single ones."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg.types.json import Json
from sqlalchemy import text
from sqlalchemy.engine import Row

from services.memory_worker.memories import Draft, Place
from shared.database import Transaction, psycopg_of
from shared.messages import JsonText, encode, rfc3339
from shared.messages.memory import Memory

COLUMNS = "session_id, key, type, content::text as content, tags, version, author, message_id, created, updated"

# Drafts come as one JSON parameter: arrays for `unnest` cost eight times as much in Python, and the same in PostgreSQL.
_DRAFTS = """json_to_recordset(%s) as draft (
        at int, session_id text, key text, type text, content text, tags text[], author text, message_id text,
        if_version int
    )"""

# New memories, a microsecond apart so that a list by time has them in their order; those whose key is taken are left
# out. By the primary key; each row also goes into the indexes memories_search, _tags, _by_session and _newest.
_INSERT: LiteralString = f"""
    insert into memories (session_id, key, type, content, tags, author, message_id, created, updated)
    select session_id, key, type, content::json, tags, author, message_id, moment, moment
    from {_DRAFTS}, lateral (select statement_timestamp() + at * interval '1 microsecond') as now (moment)
    on conflict (session_id, key) do nothing
    returning session_id, key, created
"""  # noqa: S608

# New versions of memories that are there, and copies of those they replace, where the guard allows it. The moment is
# that of the statement, after the session was locked, so versions never overlap. By the primary keys of both tables.
_REPLACE: LiteralString = f"""
    with draft as materialized (
        select * from {_DRAFTS}
    ), found as materialized (
        select draft.at, memories.* from draft join memories using (session_id, key)
    ), changed as (
        update memories set
            type = draft.type, content = draft.content::json, tags = draft.tags, version = found.version + 1,
            author = draft.author, message_id = draft.message_id,
            updated = greatest(
                statement_timestamp() + draft.at * interval '1 microsecond', found.updated + interval '1 microsecond'
            )
        from draft join found using (at)
        where memories.session_id = draft.session_id and memories.key = draft.key
            and (draft.if_version is null or draft.if_version = found.version)
        returning draft.at, memories.version, memories.created, memories.updated
    ), kept as (
        insert into memory_versions
            (session_id, key, version, type, content, tags, author, message_id, created, updated, replaced)
        select session_id, key, found.version, type, content, tags, author, message_id, found.created, found.updated,
            changed.updated
        from found join changed using (at)
    )
    select draft.if_version is null, coalesce(found.version, 0), changed.version, changed.created, changed.updated
    from draft left join found using (at) left join changed using (at)
    order by at
"""  # noqa: S608

# One memory now, or as it was at a moment, beside whether its session exists; by the primary keys of all three tables.
_RETRIEVE = text(f"""
    select memory.* from sessions left join lateral (
        select {COLUMNS} from memories where session_id = sessions.id and key = :key
    ) as memory on true
    where sessions.id = :session_id
""")  # noqa: S608
_RETRIEVE_AS_OF = text(f"""
    select memory.* from sessions left join lateral (
        select {COLUMNS} from memories where session_id = sessions.id and key = :key and updated <= :as_of
        union all
        select {COLUMNS} from memory_versions
        where session_id = sessions.id and key = :key and updated <= :as_of and replaced > :as_of
    ) as memory on true
    where sessions.id = :session_id
""")  # noqa: S608


class Replaced(NamedTuple):
    """What became of a draft for a key that may be taken: the version found (0: none), and the new one if allowed."""

    found: int
    version: int | None
    created: datetime
    updated: datetime


async def insert_memories(tx: Transaction, drafts: Sequence[Draft]) -> dict[Place, datetime]:
    """Store drafts, each for another key, as new memories; returns the moments of those whose key was free."""
    cursor = await (await psycopg_of(tx)).execute(_INSERT, [_rows(drafts)])
    return {(session_id, key): created for session_id, key, created in await cursor.fetchall()}


async def replace_memories(tx: Transaction, drafts: Sequence[Draft]) -> list[Replaced | None]:
    """Store drafts, each for another key, as new versions where the guards allow it; None: nothing there, no guard."""
    # Planned each time. A plan kept from when the table was small reads the whole of it, until it is next analyzed.
    cursor = await (await psycopg_of(tx)).execute(_REPLACE, [_rows(drafts)], prepare=False)
    return [
        None if unguarded and not found else Replaced(found, version, created, updated)
        for unguarded, found, version, created, updated in await cursor.fetchall()
    ]


async def find_memory(tx: Transaction, session_id: str, key: str, as_of: datetime | None) -> tuple[Memory | None, bool]:
    """A memory in its version now or at a moment, and whether its session exists."""
    statement = _RETRIEVE if as_of is None else _RETRIEVE_AS_OF
    row = (await tx.execute(statement, {"session_id": session_id, "key": key, "as_of": as_of})).one_or_none()
    return (memory_of(row) if row is not None and row.key is not None else None), row is not None


def memory_of(row: Row[Any]) -> Memory:
    """The memory of a row of `COLUMNS`."""
    return Memory(
        session_id=row.session_id,
        key=row.key,
        type=row.type,
        content=JsonText(row.content.encode()),
        tags=row.tags,
        version=row.version,
        author=row.author,
        message_id=row.message_id,
        created=rfc3339(row.created),
        updated=rfc3339(row.updated),
    )


def _rows(drafts: Sequence[Draft]) -> Json:
    return Json(encode(drafts), dumps=_as_is)


def _as_is(text: bytes) -> bytes:
    return text
