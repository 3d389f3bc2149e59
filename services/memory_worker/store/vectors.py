"""SQL of the vectors: their tables, which exist only where pgvector does, what is missing in them, and the nearest."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg.types.json import Json

from services.memory_worker.store.memories import COLUMNS, memory_of, rows_of
from services.memory_worker.store.search import Filter, Ranked
from shared.database import Transaction, psycopg_of
from shared.errors import SwitchyardError
from shared.messages import JsonText, encode
from shared.messages.memory import MemoryVector

TABLE: LiteralString = "memory_embeddings"
# pgvector's indexes hold so many dimensions.
MAX_DIMENSIONS = 2_000
# Iterative scans, which a search with filters needs, came with it.
PGVECTOR = (0, 8)
# Any number will do, as long as nothing else in this database takes the same advisory lock.
MAKERS_LOCK = 7_317_003
# A memory of a transaction that is still open may have an older moment than one that is seen already.
SETTLED = timedelta(seconds=60)
# Rows looked at in one statement.
PAGE = 2_000
# Vectors of one session that are compared one by one; beyond that, of its newest.
OF_A_SESSION = 20_000

_DIMENSIONS: LiteralString = """
    select atttypmod from pg_attribute where attrelid = to_regclass('memory_embeddings') and attname = 'embedding'
"""

_MAKE: LiteralString = """
    create table memory_embeddings (
        session_id text not null,
        key        text not null,
        version    integer not null,
        model      text not null,
        embedding  vector({dimensions}) not null,
        primary key (session_id, key),
        foreign key (session_id, key) references memories (session_id, key) on delete cascade
    );
    create index memory_embeddings_nearest on memory_embeddings using hnsw (embedding vector_cosine_ops);
    create table if not exists memory_embedder (
        singleton boolean primary key default true check (singleton),
        holder    text not null,
        until     timestamptz not null
    )
"""

# One worker makes vectors, until it has not said for a while that it does. By the primary key.
_HOLD: LiteralString = """
    insert into memory_embedder (holder, until) values (%(holder)s, now() + %(lease)s)
    on conflict (singleton) do update set holder = excluded.holder, until = excluded.until
    where memory_embedder.holder = excluded.holder or memory_embedder.until < now()
    returning 1
"""

# A page of memories after a place, each with whether it has a vector of its version. By memories_newest, backwards,
# and the primary key of memory_embeddings.
_PAGE: LiteralString = """
    select page.session_id, page.key, page.version, page.updated, page.updated < now() - %(settled)s as settled,
        made.version is null as missing
    from (
        select session_id, key, version, updated, forgotten is not null as gone from memories
        where (updated, session_id, key) > (%(updated)s, %(session_id)s, %(key)s)
        order by updated, session_id, key limit %(page)s
    ) as page left join memory_embeddings as made
        on made.session_id = page.session_id and made.key = page.key and made.version = page.version
        and made.model = %(model)s
    where not gone
    order by page.updated, page.session_id, page.key
"""

# What some versions say, as long as they are in force; a long content as the beginning of its text. By the primary key.
_CONTENTS: LiteralString = """
    select session_id, key, version,
        case when octet_length(content::text) <= 300000 then content::text
        else to_json(left(content::text, 75000))::text end as content
    from memories join json_to_recordset(%s) as wanted (session_id text, key text, version int)
        using (session_id, key, version)
    where forgotten is null
"""

# Vectors of versions that are in force; the memories are locked against being forgotten meanwhile, and one that
# somebody writes to comes later. By the primary keys of both tables.
_KEEP: LiteralString = """
    with given as materialized (
        select * from json_to_recordset(%(vectors)s) as given (session_id text, key text, version int, vector text)
    ), current as materialized (
        select memories.session_id, memories.key, memories.version, given.vector
        from given join memories using (session_id, key, version)
        where forgotten is null
        for no key update of memories skip locked
    )
    insert into memory_embeddings (session_id, key, version, model, embedding)
    select session_id, key, version, %(model)s, vector::vector from current
    on conflict (session_id, key) do update set
        version = excluded.version, model = excluded.model, embedding = excluded.embedding
    returning 1
"""


class NoVectors(SwitchyardError):
    """There is no place for vectors; the message says why and what to do."""


class Version(NamedTuple):
    """One version of a memory, with what it says."""

    session_id: str
    key: str
    version: int
    content: JsonText


class Place(NamedTuple):
    """How far memories have been looked at, in the order they were updated."""

    updated: datetime
    session_id: str
    key: str


class Page(NamedTuple):
    """What a look found: the versions without a vector, and where to go on."""

    missing: list[tuple[str, str, int]]
    # After the last row; None when there are no more.
    next: Place | None
    # After the last row that no open transaction can have one before.
    settled: Place | None


async def prepare(tx: Transaction, dimensions: int) -> None:
    """Make the extension and the tables, unless they are there; vectors of another length are dropped, to be made anew.

    Raises `NoVectors`.
    """
    if dimensions > MAX_DIMENSIONS:
        raise NoVectors(
            f"the model makes {dimensions} dimensions and pgvector indexes {MAX_DIMENSIONS};"
            " set SWITCHYARD_EMBEDDINGS_DIMENSIONS to fewer if the model can, else another SWITCHYARD_EMBEDDINGS_MODEL"
        )
    connection = await psycopg_of(tx)
    await connection.execute("select pg_advisory_xact_lock(%s)", [MAKERS_LOCK])
    await _make_extension(connection)
    row = await (await connection.execute(_DIMENSIONS)).fetchone()
    if row is not None and row[0] == dimensions:
        return
    try:
        async with connection.transaction():
            await connection.execute("drop table if exists memory_embeddings")
            await connection.execute(_MAKE.replace("{dimensions}", str(dimensions)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise NoVectors(
            f"the table of vectors can't be made: {_first_line(error)}; let the user create tables"
        ) from None


async def hold(tx: Transaction, holder: str, lease: timedelta) -> bool:
    """Whether this worker is the one that makes vectors, from now on for the time of the lease."""
    cursor = await (await psycopg_of(tx)).execute(_HOLD, {"holder": holder, "lease": lease})
    return await cursor.fetchone() is not None


async def look(tx: Transaction, model: str, after: Place | None) -> Page:
    """The next page of memories, the longest unchanged first."""
    begin = after or Place(datetime.min, "", "")
    values = {**begin._asdict(), "model": model, "page": PAGE, "settled": SETTLED}
    if after is None:
        values["updated"] = "-infinity"
    rows = await rows_of(tx, _PAGE, values)
    settled = [row for row in rows if row.settled]
    return Page(
        [(row.session_id, row.key, row.version) for row in rows if row.missing],
        _place(rows[-1]) if rows else None,
        _place(settled[-1]) if settled else None,
    )


async def contents(tx: Transaction, versions: Sequence[tuple[str, str, int]]) -> list[Version]:
    """What those of these versions say that are still in force."""
    wanted = [dict(zip(("session_id", "key", "version"), each, strict=True)) for each in versions]
    cursor = await (await psycopg_of(tx)).execute(_CONTENTS, [Json(wanted)])
    return [
        Version(session_id, key, version, JsonText(content.encode()))
        for session_id, key, version, content in await cursor.fetchall()
    ]


async def keep_vectors(tx: Transaction, model: str, vectors: Sequence[MemoryVector]) -> int:
    """Keep the vectors of versions that are in force; returns how many those were."""
    connection = await psycopg_of(tx)
    row = await (await connection.execute(_DIMENSIONS)).fetchone()
    fitting = [vector for vector in vectors if row is not None and len(vector.vector) == row[0]]
    if not fitting:
        return 0
    values = {"model": model, "vectors": Json(encode(fitting), dumps=lambda text: text)}
    cursor = await connection.execute(_KEEP, values, prepare=False)
    return len(await cursor.fetchall())


async def nearest(tx: Transaction, wanted: Filter, model: str, vector: Sequence[float], limit: int) -> list[Ranked]:
    """Up to `limit` memories whose vectors lie nearest, the nearest first; `rank` is the cosine.

    Within a session all its vectors are compared; else memory_embeddings_nearest is followed, until enough of those it
    comes by pass the filters, through 20,000 at the most.
    """
    values = {**wanted._asdict(), "model": model, "vector": f"[{','.join(map(repr, vector))}]", "limit": limit}
    if wanted.session_id:
        source = f"""(
            select * from memory_embeddings where session_id = %(session_id)s
            order by session_id, key limit {OF_A_SESSION} offset 0
        )"""  # noqa: S608
    else:
        source = "memory_embeddings"
    conditions = wanted._replace(session_id=None).conditions("made.model = %(model)s")
    statement = f"""
        select {COLUMNS}, 1 - (made.embedding <=> %(vector)s::vector) as rank
        from (
            select session_id as of_session, key as of_key, version as of_version, model, embedding
            from {source} as source
        ) as made
        join memories on session_id = of_session and key = of_key and version = of_version
        {conditions}
        order by made.embedding <=> %(vector)s::vector limit %(limit)s
    """  # noqa: S608
    connection = await psycopg_of(tx)
    async with connection.transaction():
        await connection.execute("set local hnsw.iterative_scan = strict_order")
        await connection.execute("set local hnsw.ef_search = 200")
        return [Ranked(memory_of(row), row.rank, row.updated) for row in await rows_of(tx, statement, values)]


async def _make_extension(connection: "psycopg.AsyncConnection[Any]") -> None:
    found = await (
        await connection.execute(
            "select default_version, (select extversion from pg_extension where extname = 'vector')"
            " from pg_available_extensions where name = 'vector'"
        )
    ).fetchone()
    if found is None:
        raise NoVectors("this PostgreSQL has no pgvector; install it (Debian: postgresql-NN-pgvector), and start again")
    offered, installed = found
    version = installed or offered
    if tuple(int(part) for part in version.split(".")[:2]) < PGVECTOR:
        raise NoVectors(f"pgvector is {version}; 0.8 or later is needed (`alter extension vector update`)")
    if installed is None:
        try:
            async with connection.transaction():
                await connection.execute("create extension vector")
        except psycopg.errors.InsufficientPrivilege:
            raise NoVectors(
                "pgvector is there but may not be enabled by this user; run `create extension vector` as a superuser"
            ) from None


def _place(row: Any) -> Place:
    return Place(row.updated, row.session_id, row.key)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]
