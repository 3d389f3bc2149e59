"""SQL that finds memories: lists by time, and full text by rank."""

from datetime import datetime
from typing import Any, NamedTuple

from services.memory_worker.store.memories import COLUMNS, memory_of, rows_of, values_of
from shared.database import Transaction
from shared.messages.memory import Memory, MemoryType

# What a search may look at, so that a word of a million memories is answered about as quickly as a rare one
# (docs/memory.md tells what that means for the answers; `python -m bench memory_search` measures it). All of it is for
# memories of a few lines; of long ones, whose words PostgreSQL keeps outside of the row, it is less (`_OUTSIDE`).
# By the planner's estimate, an index leads to so few rows: all that match are ranked.
FEW = 4_000
# Should the estimate be wrong, this is where ranking them stops.
RANKED = 8_000
# Else the newest rows are looked at, so many, or until so many of them matched.
NEWEST = 15_000
ENOUGH = 1_000
# So many bytes outside of the row cost as much as the row itself.
ROW_BYTES = 1_000
LEAST_SHARE = 0.05

_QUERY = "websearch_to_tsquery('english', cast(%(text)s as text))"
_RANK = f"cast(ts_rank_cd(search, {_QUERY}) as float8)"
_NEWEST_FIRST = "updated desc, session_id desc, key desc"
_BEST_FIRST = f"rank desc, {_NEWEST_FIRST}"
_PLACE = "session_id, key, version, updated"

# What the rows of a table keep outside of it, on average.
_OUTSIDE = """
    select pg_relation_size(reltoastrelid) / greatest(reltuples, 1)::float8 from pg_class
    where oid = cast('{table}' as regclass)
"""


class Filter(NamedTuple):
    """Which memories are asked for; None and empty: any. Those forgotten are never found."""

    session_id: str | None
    type: MemoryType | None
    tags: list[str] | None
    as_of: datetime | None

    def named(self) -> dict[str, Any]:
        """The conditions in force, each with its value."""
        named = {
            "session_id = %(session_id)s": self.session_id,
            "tags @> cast(%(tags)s as text[])": self.tags,
            "type = %(type)s": self.type,
            "updated <= %(as_of)s": self.as_of,
        }
        return {condition: value for condition, value in named.items() if value}

    def conditions(self, *more: str, replaced: bool = False) -> str:
        """The `where` clause for `memories`, or for `memory_versions`."""
        beyond = ["replaced > %(as_of)s"] if replaced else []
        return f"where {' and '.join([*self.named(), *beyond, 'forgotten is null', *more])}"


class Ranked(NamedTuple):
    """A memory that was found, and how well it fits."""

    memory: Memory
    rank: float
    updated: datetime


async def list_memories(
    tx: Transaction, wanted: Filter, after: tuple[datetime, str, str] | None, limit: int
) -> list[tuple[Memory, datetime]]:
    """Up to `limit` memories after a sort key, the newest first, each with the moment it is sorted by.

    By memories_newest, _by_session, _by_type or _tags, as the filter goes; with `as_of` also the versions in force at
    that moment, by the primary key of memory_versions within a session, else by memory_versions_newest.
    """
    beyond = ["(updated, session_id, key) < (%(updated)s, %(after_session)s, %(after_key)s)"] if after else []
    page = f"order by {_NEWEST_FIRST} limit %(limit)s"
    statement = f"select {COLUMNS} from memories {wanted.conditions(*beyond)} {page}"  # noqa: S608
    if wanted.as_of is not None:
        versions = f"select {COLUMNS} from memory_versions {wanted.conditions(*beyond, replaced=True)} {page}"  # noqa: S608
        statement = f"({statement}) union all ({versions}) {page}"
    updated, session_id, key = after or (None, None, None)
    values = {**wanted._asdict(), "updated": updated, "after_session": session_id, "after_key": key, "limit": limit}
    return [(memory_of(row), row.updated) for row in await rows_of(tx, statement, values)]


class Prospect(NamedTuple):
    """What a search will come upon, before it looks at a row."""

    # What an index can look for: '' when only stop words are left, 'T' when the search only leaves words out.
    tree: str
    # For each table, how much of the bounds hold, and whether an index leads to few rows.
    shares: dict[str, float]
    few: dict[str, bool]


async def prospect(tx: Transaction, wanted: Filter, words: str) -> Prospect:
    """What a search will come upon, by the planner's statistics; one round trip to the database."""
    tables = ["memories"] if wanted.as_of is None else ["memories", "memory_versions"]
    filters = [condition for condition in wanted.named() if not condition.startswith("updated")]
    conditions = [f"search @@ {_QUERY}", *filters]
    statements = [f"select querytree({_QUERY})"]
    for table in tables:
        statements.append(_OUTSIDE.format(table=table))
        # The estimate for each index that the search could go by: that of the words, or that of a filter.
        statements += [f"explain (format json) select 1 from {table} where {each}" for each in conditions]  # noqa: S608
    (tree, *found) = await values_of(tx, statements, {**wanted._asdict(), "text": words})
    shares, few = {}, {}
    for table in tables:
        outside, *plans = found[: 1 + len(conditions)]
        found = found[1 + len(conditions) :]
        shares[table] = max(LEAST_SHARE, 1 / (1 + outside / ROW_BYTES))
        few[table] = min(plan[0]["Plan"]["Plan Rows"] for plan in plans) <= FEW * shares[table]
    return Prospect(tree, shares, few)


async def search_memories(
    tx: Transaction,
    wanted: Filter,
    words: str,
    expected: Prospect,
    after: tuple[float, datetime, str, str] | None,
    limit: int,
) -> list[Ranked]:
    """Up to `limit` memories that match, after a sort key, the best first; see `FEW` for how many are looked at."""
    statement, values = search_statement(wanted, words, expected, after, limit)
    return [Ranked(memory_of(row), row.rank, row.updated) for row in await rows_of(tx, statement, values)]


def search_statement(
    wanted: Filter, words: str, expected: Prospect, after: tuple[float, datetime, str, str] | None, limit: int
) -> tuple[str, dict[str, Any]]:
    """The statement of a search and its values, for the matches there are likely to be.

    Few: one scan of memories_search, or of the index of a filter that leads to fewer rows. Many: one walk along
    memories_newest, _by_session or _by_type. The same for memory_versions, when a moment is asked for.
    """
    rank, updated, session_id, key = after or (None, None, None, None)
    values = {
        **wanted._asdict(), "text": words, "limit": limit,
        "rank": rank, "updated": updated, "after_session": session_id, "after_key": key,
    }  # fmt: skip
    parts = [_candidates(table, wanted, share, few=expected.few[table]) for table, share in expected.shares.items()]
    found = " union all ".join(f"select * from {name}" for part in parts for name in part.found)  # noqa: S608
    after_key = (
        "where (rank, updated, session_id, key) < (%(rank)s, %(updated)s, %(after_session)s, %(after_key)s)"
        if after
        else ""
    )
    statement = f"""
        with {",".join(part.ctes for part in parts)}, page as (
            select * from ({found}) as candidates {after_key} order by {_BEST_FIRST} limit %(limit)s
        )
        select memory.*, page.rank from page, lateral ({version_of("page")}) as memory order by {_BEST_FIRST}
    """  # noqa: S608
    return statement, values


def version_of(place: str) -> str:
    """The one version that a row with session_id, key and version names, wherever it is kept. By the primary keys."""
    same = f"session_id = {place}.session_id and key = {place}.key and version = {place}.version"
    return f"""
        select {COLUMNS} from memories where {same} union all select {COLUMNS} from memory_versions where {same}
    """  # noqa: S608


class _Candidates(NamedTuple):
    """The parts of a statement that find what may be on the page."""

    ctes: str
    found: list[str]


def _candidates(table: str, wanted: Filter, share: float, *, few: bool) -> _Candidates:
    ranked, newest, enough = (int(each * share) for each in (RANKED, NEWEST, ENOUGH))
    replaced = table == "memory_versions"
    matching = wanted.conditions(f"search @@ {_QUERY}", replaced=replaced)
    # With the filters that an index can walk along: the others are looked at in the rows it comes by.
    walked = wanted._replace(type=None if wanted.session_id else wanted.type, tags=None)
    within = walked.conditions(replaced=replaced)
    recent = f"""
        select {_PLACE}, {_RANK} as rank from (
            select * from {table} {within} order by {_NEWEST_FIRST} limit {newest}
        ) as newest {matching}
    """  # noqa: S608
    if not few:
        return _Candidates(f"recent_{table} as ({recent} limit {enough})", [f"recent_{table}"])
    # The limit stands outside of what is materialized, since a planner that counts on it reads the table instead.
    ctes = f"""
        matching_{table} as materialized (select {_PLACE}, {_RANK} as rank from {table} {matching}),
        counted_{table} as materialized (select * from matching_{table} limit {ranked} + 1),
        found_{table} as (select * from counted_{table} where (select count(*) from counted_{table}) <= {ranked}),
        recent_{table} as (
            {recent} and (select count(*) from counted_{table}) > {ranked} limit {enough}
        )
    """  # noqa: S608
    return _Candidates(ctes, [f"found_{table}", f"recent_{table}"])
