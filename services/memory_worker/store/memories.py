"""SQL that stores memories and reads single ones."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import namedtuple_row
from psycopg.types.json import Json
from sqlalchemy import text

from services.memory_worker import deltas, memories
from services.memory_worker.collisions import TOGETHER
from services.memory_worker.memories import Draft, Place
from shared.database import Transaction, psycopg_of
from shared.messages import JsonText, encode, rfc3339
from shared.messages.memory import Forgotten, Memory

# Events of one key are at least so far apart; the updates in between are told of by the next one.
TOLD_APART = timedelta(milliseconds=500)

COLUMNS: LiteralString = (
    "session_id, key, type, content::text as content, tags, version, author, message_id, created, updated"
)

# Drafts come as one JSON parameter: arrays for `unnest` cost eight times as much in Python, and the same in PostgreSQL.
_DRAFT_COLUMNS: LiteralString = """
        at int, session_id text, key text, type text, content text, tags text[], author text, message_id text,
        if_version int, content_hash bigint
"""

# New memories, a microsecond apart so that a list by time has them in their order; those whose key is taken are left
# out. By the primary key; each row also goes into the indexes memories_search, _tags, _by_session, _by_type, _newest
# and _by_content.
_INSERT: LiteralString = f"""
    insert into memories (session_id, key, type, content, tags, author, message_id, content_hash, created, updated)
    select session_id, key, type, content::json, tags, author, message_id, content_hash, moment, moment
    from json_to_recordset(%s) as draft ({_DRAFT_COLUMNS}),
        lateral (select statement_timestamp() + at * interval '1 microsecond') as now (moment)
    on conflict (session_id, key) do nothing
    returning session_id, key, created
"""  # noqa: S608

# New versions of memories that are there, and copies of those they replace, where the guard allows it; 0 is also right
# for one that was forgotten. The moment is that of the statement, after the session was locked, so versions never
# overlap. An event may be due at once or wait for those told of together (docs/memory.md); with a due one comes what
# was told last, unless it is too large to be compared. With one that somebody makes who has not just named the version
# before by a guard comes who wrote that, if it was another and just now. By the primary keys of both tables.
_REPLACE: LiteralString = f"""
    with draft as materialized (
        select * from json_to_recordset(%(drafts)s) as draft ({_DRAFT_COLUMNS}, cause json)
    ), found as materialized (
        select draft.at, memories.*,
            coalesce(told_at, updated) <= statement_timestamp() - %(apart)s::interval as due,
            coalesce(told_version, memories.version) as told
        from draft join memories using (session_id, key)
    ), changed as (
        update memories set
            type = draft.type, content = draft.content::json, tags = draft.tags, version = found.version + 1,
            author = draft.author, message_id = draft.message_id, content_hash = draft.content_hash,
            updated = greatest(
                statement_timestamp() + draft.at * interval '1 microsecond', found.updated + interval '1 microsecond'
            ),
            told_version = case when due then null else told end,
            told_at = case when due then statement_timestamp() else coalesce(found.told_at, found.updated) end,
            cause = case when due then null else draft.cause end,
            forgotten = null
        from draft join found using (at)
        where memories.session_id = draft.session_id and memories.key = draft.key and (
            draft.if_version is null or draft.if_version = found.version
            or draft.if_version = 0 and found.forgotten is not null
        )
        returning draft.at, memories.version, memories.created, memories.updated
    ), kept as (
        insert into memory_versions
            (session_id, key, version, type, content, tags, author, message_id, created, updated, replaced, forgotten)
        select session_id, key, found.version, type, content, tags, author, message_id, found.created, found.updated,
            changed.updated, forgotten
        from found join changed using (at)
    )
    select draft.if_version is null, coalesce(found.version, 0), found.forgotten is not null,
        changed.version, changed.created, changed.updated, due, told,
        case
            when not due or octet_length(found.content::text) > %(comparable)s then null
            when told = found.version then found.content::text
            else (
                select content::text from memory_versions as one
                where one.session_id = found.session_id and one.key = found.key and one.version = told
                    and octet_length(content::text) <= %(comparable)s
            )
        end,
        case when found.author <> draft.author and found.updated > statement_timestamp() - %(together)s::interval
            and draft.if_version is null and found.forgotten is null then found.author end
    from draft left join found using (at) left join changed using (at)
    order by at
"""  # noqa: S608

# The oldest memory in force with each of these hashes. By memories_by_content.
_SAYING: LiteralString = f"""
    select distinct on (content_hash) content_hash, {COLUMNS} from memories
    where content_hash = any (array(select json_array_elements_text(%s)::bigint))
    order by content_hash, created, key
"""  # noqa: S608

# One memory now, or as it was at a moment, beside whether its session exists; by the primary keys of all three tables.
_RETRIEVE = text(f"""
    select memory.* from sessions left join lateral (
        select {COLUMNS}, forgotten from memories where session_id = sessions.id and key = :key
    ) as memory on true
    where sessions.id = :session_id
""")  # noqa: S608
_RETRIEVE_AS_OF = text(f"""
    select memory.* from sessions left join lateral (
        select {COLUMNS}, forgotten from memories where session_id = sessions.id and key = :key and updated <= :as_of
        union all
        select {COLUMNS}, forgotten from memory_versions
        where session_id = sessions.id and key = :key and updated <= :as_of and replaced > :as_of
    ) as memory on true
    where sessions.id = :session_id
""")  # noqa: S608


class Replaced(NamedTuple):
    """What became of a draft for a key that may be taken: the version found (0: none), and the new one if allowed."""

    found: int
    was_forgotten: bool
    version: int | None
    created: datetime
    updated: datetime
    # Whether its event is due, the version told of last, and that one's content if it can be compared.
    due: bool
    told: int
    told_content: str | None
    # Who wrote the version found, if that was somebody else and just now.
    met: str | None


class Found(NamedTuple):
    """What a key holds: its memory, or the fact that it was forgotten, or nothing; and whether its session exists."""

    memory: Memory | None
    forgotten: Forgotten | None
    session_exists: bool


async def insert_memories(tx: Transaction, drafts: Sequence[Draft]) -> dict[Place, datetime]:
    """Store drafts, each for another key, as new memories; returns the moments of those whose key was free."""
    cursor = await (await psycopg_of(tx)).execute(_INSERT, [_json(drafts)])
    return {(session_id, key): created for session_id, key, created in await cursor.fetchall()}


async def replace_memories(
    tx: Transaction, drafts: Sequence[Draft], causes: Sequence[dict[str, Any]]
) -> list[Replaced | None]:
    """Store drafts, each for another key, as new versions where the guards allow it; None: nothing there, no guard.

    `causes` are what the drafts' events will be stamped with, should they be told later.
    """
    rows = [
        {**{field: getattr(draft, field) for field in Draft.__slots__}, "cause": cause}
        for draft, cause in zip(drafts, causes, strict=True)
    ]
    values = {"drafts": _json(rows), "apart": TOLD_APART, "together": TOGETHER, "comparable": deltas.MAX_BYTES}
    # Planned each time. A plan kept from when the table was small reads the whole of it, until it is next analyzed.
    cursor = await (await psycopg_of(tx)).execute(_REPLACE, values, prepare=False)
    return [
        None if unguarded and not found else Replaced(found, *rest)
        for unguarded, found, *rest in await cursor.fetchall()
    ]


async def find_saying(tx: Transaction, hashes: Collection[int]) -> dict[int, Memory]:
    """The memories in force whose contents have these hashes, the oldest of each."""
    rows = await rows_of(tx, _SAYING, [_json([str(each) for each in hashes])])
    return {row.content_hash: memory_of(row) for row in rows}


async def find_memory(tx: Transaction, session_id: str, key: str, as_of: datetime | None) -> Found:
    """What a key holds, now or at a moment."""
    statement = _RETRIEVE if as_of is None else _RETRIEVE_AS_OF
    row = (await tx.execute(statement, {"session_id": session_id, "key": key, "as_of": as_of})).one_or_none()
    if row is None or row.key is None:
        return Found(None, None, row is not None)
    if row.forgotten is not None:
        return Found(None, Forgotten(**row.forgotten), True)
    return Found(memory_of(row), None, True)


def memory_of(row: Any) -> Memory:
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
        replaces=memories.replaced_by(row.version),
        created=rfc3339(row.created),
        updated=rfc3339(row.updated),
    )


async def rows_of(tx: Transaction, statement: str, values: dict[str, Any] | list[Any]) -> Sequence[Any]:
    """The rows of a statement that is planned each time: the right plan depends on the values.

    The statement must be made of constants of the code alone.
    """
    cursor = (await psycopg_of(tx)).cursor(row_factory=namedtuple_row)
    return await (await cursor.execute(statement, values, prepare=False)).fetchall()


async def values_of(tx: Transaction, statements: Sequence[str], values: dict[str, Any]) -> list[Any]:
    """The one value of each of these statements, all of them in one round trip; planned each time, as by `rows_of`."""
    connection = await psycopg_of(tx)
    async with connection.pipeline():
        cursors = [await connection.execute(statement, values, prepare=False) for statement in statements]
    found = []
    for cursor in cursors:
        ((value,),) = await cursor.fetchall()
        found.append(value)
    return found


def _json(value: Any) -> Json:
    return Json(encode(value), dumps=_as_is)


def _as_is(text: bytes) -> bytes:
    return text
