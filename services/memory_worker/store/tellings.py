"""SQL for the memories whose event waits: found and told by memories_to_tell."""

from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg.types.json import Json
from sqlalchemy import text

from services.memory_worker import deltas
from services.memory_worker.store.memories import COLUMNS, TOLD_APART, memory_of, rows_of
from shared.database import Transaction, psycopg_of
from shared.messages.memory import Memory

# All the events of one command are kept in one row until the broker has them.
TOLD_BYTES = 2_000_000

_DUE: LiteralString = "told_version is not null and told_at <= statement_timestamp() - %(apart)s::interval"

_OLDEST_DUE = text(f"select min(told_at) from memories where {_DUE.replace('%(apart)s::interval', ':apart')}")  # noqa: S608

# The sessions of the memories due first. Locked in sorted order and without waiting, as whoever writes to one holds it
# and goes on to its memories. By memories_to_tell and the primary key of sessions.
_LOCK: LiteralString = f"""
    select id from sessions where id in (
        select session_id from (
            select session_id from memories where {_DUE} order by told_at limit %(limit)s
        ) as due
    )
    order by id for no key update skip locked
"""  # noqa: S608

# What is told of, with the content told last where it can be compared. A statement of its own, so that it sees what was
# committed before the sessions were locked. By memories_to_tell and the primary keys of both tables.
_TELL: LiteralString = f"""
    with due as materialized (
        select * from (
            select session_id, key, told_version, cause,
                sum(size) over (order by told_at, session_id, key) - size as before
            from (
                select *, pg_column_size(content) as size from memories
                where {_DUE} and session_id = any (array(select json_array_elements_text(%(sessions)s)))
                order by told_at limit %(limit)s
            ) as waiting
        ) as measured
        where before < {TOLD_BYTES}
    ), told as (
        update memories set told_version = null, told_at = statement_timestamp(), cause = null
        from due where memories.session_id = due.session_id and memories.key = due.key
        returning memories.*, due.told_version as told, due.cause as why
    )
    select {COLUMNS}, told, why, before.forgotten is not null as was_forgotten, before.told_content
    from told left join lateral (
        select forgotten,
            case when octet_length(one.content::text) <= %(comparable)s then one.content::text end as told_content
        from memory_versions as one
        where one.session_id = told.session_id and one.key = told.key and one.version = told
    ) as before on true
    order by updated, session_id, key
"""  # noqa: S608


class Told(NamedTuple):
    """A memory whose event is due, the version told of last, its content, and what the event is stamped with."""

    memory: Memory
    told: int
    told_content: str | None
    was_forgotten: bool
    cause: dict[str, Any]


async def oldest_due(tx: Transaction) -> datetime | None:
    """When the memory that has been due for the longest was told of last; None when none is due."""
    moment: datetime | None = (await tx.execute(_OLDEST_DUE, {"apart": TOLD_APART})).scalar_one()
    return moment


async def tell(tx: Transaction, limit: int) -> list[Told]:
    """Take up to `limit` memories whose event is due; they count as told."""
    connection = await psycopg_of(tx)
    values: dict[str, Any] = {"apart": TOLD_APART, "limit": limit, "comparable": deltas.MAX_BYTES}
    sessions = [id for (id,) in await (await connection.execute(_LOCK, values, prepare=False)).fetchall()]
    if not sessions:
        return []
    rows = await rows_of(tx, _TELL, {**values, "sessions": Json(sessions)})
    return [Told(memory_of(row), row.told, row.told_content, row.was_forgotten, row.why or {}) for row in rows]
