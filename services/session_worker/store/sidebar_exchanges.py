"""SQL of what is said in sidebars, and of what a sidebar knows from those it inherits from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages import JsonText, encode, rfc3339
from shared.messages.sidebar import ChildResult, ContextRef, Exchange, InheritedMemory

# What one list may take, in bytes; its latest entry is given anyway.
_LIST_BYTES = 2_000_000
_CHILD_RESULTS_BYTES = 200_000

_COLUMNS = """e.exchange_id, e.sidebar_id, e.seq, e.kind, e.author, e.text, e.data_refs::text as data_refs, e.mentions,
    e.origin_sidebar_id, e.message_id, e.created"""

# Many exchanges in one statement, their JSON spliced in as it was sent; by the primary key.
_INSERT = text("""
    insert into sidebar_exchanges (
        sidebar_id, seq, exchange_id, kind, author, text, data_refs, mentions, origin_sidebar_id, message_id, created
    )
    select sidebar_id, seq, exchange_id, kind, author, text, data_refs,
        array(select json_array_elements_text(mentions)), origin_sidebar_id, message_id, created
    from json_to_recordset(cast(:rows as json)) as e (
        sidebar_id text, seq int, exchange_id text, kind text, author text, text text, data_refs json, mentions json,
        origin_sidebar_id text, message_id text, created timestamptz
    )
""")

# What was said in a merged sidebar, numbered behind what was said in its parent; by the primary key.
_COPY = text("""
    insert into sidebar_exchanges (
        sidebar_id, seq, exchange_id, kind, author, text, data_refs, mentions, origin_sidebar_id, message_id, created
    )
    select :parent_id, :after + seq, exchange_id, kind, author, text, data_refs, mentions,
        coalesce(origin_sidebar_id, sidebar_id), message_id, created
    from sidebar_exchanges where sidebar_id = :id
""")

# The latest exchanges of a sidebar before a number, as many as fit; by the primary key.
_LIST = text(f"""
    select {_COLUMNS} from (
        select seq, sum(size) over (order by seq desc) - size as before from (
            select seq, octet_length(text) + octet_length(data_refs::text) as size from sidebar_exchanges
            where sidebar_id = :id and seq < :before order by seq desc limit :limit
        ) as latest
    ) as fitting join sidebar_exchanges as e on e.sidebar_id = :id and e.seq = fitting.seq
    where fitting.before < :bytes
    order by e.seq
""")  # noqa: S608

# The chain of sidebars that one inherits from, the nearest first, by the primary key: a fork knows all its origin
# knows, whatever that has come from; a child what its parent knows, but no further up than its depth says.
_CHAIN = """
    with recursive chain as (
        select coalesce(forked_from, parent_id) as source, inherits_seq as until, 1 as link,
            case when forked_from is null then inherit_depth - 1 else inherit_depth end as depth
        from sidebars where id = :id
        union all
        select coalesce(s.forked_from, s.parent_id), s.inherits_seq, chain.link + 1,
            case when s.forked_from is null then chain.depth - 1 else chain.depth end
        from chain join sidebars as s on s.id = chain.source
        where chain.depth >= 0
    ), sources as (
        select source, until, link from chain where source is not null and depth >= 0
    )
"""

# The latest exchanges that a sidebar inherits, first by how near they were said: by the primary key, for each sidebar
# of the chain.
_KEYS = f"""{_CHAIN}, latest as (
        select link, source, seq, exchange_id, size from sources cross join lateral (
            select seq, exchange_id, octet_length(text) + octet_length(data_refs::text) as size
            from sidebar_exchanges where sidebar_id = source and seq <= until order by seq desc limit :limit
        ) as said
        order by link, seq desc limit :limit
    )
"""  # noqa: S608
_LIST_INHERITED = text(f"""{_KEYS}
    select {_COLUMNS} from (
        select link, source, seq, sum(size) over (order by link, seq desc) - size as before from latest
    ) as fitting join sidebar_exchanges as e on e.sidebar_id = fitting.source and e.seq = fitting.seq
    where fitting.before < :bytes
    order by fitting.link desc, e.seq
""")  # noqa: S608
_LIST_REFS = text(f"{_KEYS} select source, exchange_id from latest order by link desc, seq")  # noqa: S608

# The memories that a sidebar inherits: those of the sidebar at the end of its chain that hangs under the session, or
# its own. By the primary key.
_MEMORY_REFS = f"""{_CHAIN}, refs as (
        select s.session_id, ref ->> 0 as key, cast(ref ->> 1 as int) as version, place
        from (select source from sources union all select :id) as known join sidebars as s on s.id = known.source,
            json_array_elements(s.memory_refs) with ordinality as r (ref, place)
        order by place limit :limit
    )
"""  # noqa: S608
_LIST_MEMORY_REFS = text(f"{_MEMORY_REFS} select session_id, key, version from refs order by place desc")  # noqa: S608
# The same with their contents, a read of the memory worker's tables by their primary keys: the version in force, or one
# that was replaced since. What was forgotten meanwhile is left out.
_LIST_MEMORIES = text(f"""{_MEMORY_REFS}, sized as (
        select refs.*, octet_length(coalesce(m.content, v.content)::text) as size
        from refs
        left join memories as m on m.session_id = refs.session_id and m.key = refs.key and m.version = refs.version
            and m.forgotten is null
        left join memory_versions as v on v.session_id = refs.session_id and v.key = refs.key
            and v.version = refs.version and v.forgotten is null
    ), fitting as (
        select *, sum(size) over (order by place) - size as before from sized where size is not null
    )
    select f.key, f.version, coalesce(m.type, v.type) as type, coalesce(m.content, v.content)::text as content,
        coalesce(m.tags, v.tags) as tags, coalesce(m.author, v.author) as author,
        coalesce(m.updated, v.updated) as updated
    from fitting as f
    left join memories as m on m.session_id = f.session_id and m.key = f.key and m.version = f.version
    left join memory_versions as v on v.session_id = f.session_id and v.key = f.key and v.version = f.version
    where f.before < :bytes
    order by f.place desc
""")  # noqa: S608

# What the merged children of a sidebar have brought up, the latest of them as far as they fit; by sidebars_by_parent.
_CHILD_RESULTS = text("""
    select id, task_description, findings::text as findings, success from (
        select id, task_description, findings, success, created,
            sum(octet_length(findings::text)) over (order by created desc, id) - octet_length(findings::text) as before
        from sidebars where parent_id = :id and success is not null
        order by created desc, id limit 100
    ) as children
    where before < :bytes order by created, id
""")

# The open children of a sidebar, by sidebars_by_parent.
_OPEN_CHILDREN = text("""
    select id from sidebars where parent_id = :id and closed is null order by created desc limit :limit
""")


class Refs(NamedTuple):
    """What a sidebar inherits, by reference: memories, then exchanges, the oldest first."""

    memories: list[ContextRef]
    exchanges: list[ContextRef]


async def insert_exchanges(tx: Transaction, exchanges: Sequence[Exchange]) -> None:
    """Write what was said in locked sidebars."""
    await tx.execute(_INSERT, {"rows": encode(list(exchanges)).decode()})


async def copy_exchanges(tx: Transaction, sidebar_id: str, parent_id: str, after: int) -> None:
    """Bring all that was said in a sidebar to its parent, behind so many exchanges; both must be locked."""
    await tx.execute(_COPY, {"id": sidebar_id, "parent_id": parent_id, "after": after})


async def list_exchanges(
    tx: Transaction, sidebar_id: str, limit: int, before: int | None = None, bytes_in_sum: int = _LIST_BYTES
) -> list[Exchange]:
    """The latest exchanges of a sidebar, before one with this number, the oldest of them first."""
    values = {"id": sidebar_id, "limit": limit, "before": before or 2**31 - 1, "bytes": bytes_in_sum}
    return [_exchange(row) for row in await tx.execute(_LIST, values)]


async def list_inherited(tx: Transaction, sidebar_id: str, limit: int) -> list[Exchange]:
    """The latest exchanges that a sidebar inherits, the furthest up and oldest of them first."""
    values = {"id": sidebar_id, "limit": limit, "bytes": _LIST_BYTES}
    return [_exchange(row) for row in await tx.execute(_LIST_INHERITED, values)]


async def list_memories(tx: Transaction, sidebar_id: str, limit: int) -> list[InheritedMemory]:
    """The newest memories that a sidebar inherits, the oldest of them first: what the memory worker has written."""
    rows = await tx.execute(_LIST_MEMORIES, {"id": sidebar_id, "limit": limit, "bytes": _LIST_BYTES})
    return [
        InheritedMemory(
            key=row.key,
            version=row.version,
            type=row.type,
            content=JsonText(row.content.encode()),
            tags=row.tags,
            author=row.author,
            updated=rfc3339(row.updated),
        )
        for row in rows
    ]


async def list_refs(tx: Transaction, sidebar_id: str, limit: int) -> Refs:
    """The latest of what a sidebar inherits, `limit` of each kind at most, by reference."""
    values = {"id": sidebar_id, "limit": limit}
    memories = [
        ContextRef(kind="memory", id=row.key, session_id=row.session_id, version=row.version)
        for row in await tx.execute(_LIST_MEMORY_REFS, values)
    ]
    exchanges = [
        ContextRef(kind="exchange", id=row.exchange_id, sidebar_id=row.source)
        for row in await tx.execute(_LIST_REFS, values)
    ]
    return Refs(memories, exchanges)


async def child_results(tx: Transaction, sidebar_id: str) -> list[ChildResult]:
    """What the merged children of a sidebar have brought up, the latest 100 at most, the oldest of them first."""
    rows = await tx.execute(_CHILD_RESULTS, {"id": sidebar_id, "bytes": _CHILD_RESULTS_BYTES})
    return [
        ChildResult(
            sidebar_id=row.id,
            task_description=row.task_description,
            findings=JsonText(row.findings.encode()),
            success=row.success,
        )
        for row in rows
    ]


async def open_children(tx: Transaction, sidebar_id: str, limit: int) -> list[str]:
    """Up to `limit` children of a sidebar that are open."""
    return list((await tx.execute(_OPEN_CHILDREN, {"id": sidebar_id, "limit": limit})).scalars())


def _exchange(row: Row[Any]) -> Exchange:
    fields = dict(row._mapping)
    fields["data_refs"] = JsonText(row.data_refs.encode())
    fields["created"] = rfc3339(row.created)
    return Exchange.trusted(fields)
