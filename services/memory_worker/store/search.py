"""SQL that finds memories: lists by time, and full text by rank."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from services.memory_worker.store.memories import COLUMNS, memory_of
from shared.database import Transaction
from shared.database.tables import memories
from shared.messages.memory import Memory, MemoryType

# What a search may look at, so that a word in a million memories is answered about as quickly as a rare one. Up to so
# many matches, all are ranked. Of more: as many of the first in the table, and as many among the newest rows.
RANKED = 2_000
NEWEST = 10_000

_QUERY = "websearch_to_tsquery('english', cast(:text as text))"
_RANK = f"cast(ts_rank_cd(search, {_QUERY}) as float8)"
_NEWEST_FIRST = "updated desc, session_id desc, key desc"
_BEST_FIRST = f"rank desc, {_NEWEST_FIRST}"
# A replaced version's words, by the same rule as those of a memory: the table keeps only what can be found every day.
_VERSION_WORDS = str(memories.c.search.computed.sqltext)  # type: ignore[union-attr]

# Between marks that no text holds, which become tags once the rest is escaped.
MARKS = ("\x02", "\x03")
_HEADLINE = (
    f"StartSel={MARKS[0]}, StopSel={MARKS[1]}, MaxFragments=3, MaxWords=20, MinWords=10, ShortWord=0,"
    ' FragmentDelimiter=" … "'
)

# What a search says once stop words are gone: '' when nothing is left, 'T' when it only leaves words out.
_QUERY_TREE = text(f"select querytree({_QUERY})")

# The matching parts of some texts, in their order. Parses each text, so it is asked for the rows of one page only.
_HIGHLIGHTS = text(f"""
    select ts_headline('english', document, {_QUERY}, :options)
    from unnest(cast(:documents as text[])) with ordinality as page (document, at) order by at
""")  # noqa: S608


class Filter(NamedTuple):
    """Which memories are asked for; None and empty: any."""

    session_id: str | None
    type: MemoryType | None
    tags: list[str] | None
    as_of: datetime | None

    def conditions(self, *more: str, replaced: bool = False) -> str:
        """The `where` clause for `memories`, or for `memory_versions`."""
        named = {
            "session_id = :session_id": self.session_id,
            "type = :type": self.type,
            "tags @> cast(:tags as text[])": self.tags,
            "updated <= :as_of": self.as_of,
        }
        conditions = [condition for condition, value in named.items() if value]
        if replaced:
            conditions.append("replaced > :as_of")
        return f"where {' and '.join([*conditions, *more])}" if conditions or more else ""


class Ranked(NamedTuple):
    """A memory that full text found."""

    memory: Memory
    rank: float
    updated: datetime


async def list_memories(
    tx: Transaction, wanted: Filter, after: tuple[datetime, str, str] | None, limit: int
) -> list[tuple[Memory, datetime]]:
    """Up to `limit` memories after a sort key, the newest first, each with the moment it is sorted by.

    By memories_newest, memories_by_session or memories_tags, as the filter goes; with `as_of` also the versions in
    force at that moment, by the primary key of memory_versions within a session.
    """
    beyond = ["(updated, session_id, key) < (:updated, :after_session, :after_key)"] if after else []
    page = f"order by {_NEWEST_FIRST} limit :limit"
    statement = f"select {COLUMNS} from memories {wanted.conditions(*beyond)} {page}"  # noqa: S608
    if wanted.as_of is not None:
        versions = f"select {COLUMNS} from memory_versions {wanted.conditions(*beyond, replaced=True)} {page}"  # noqa: S608
        statement = f"({statement}) union all ({versions}) {page}"
    updated, session_id, key = after or (None, None, None)
    values = {**wanted._asdict(), "updated": updated, "after_session": session_id, "after_key": key, "limit": limit}
    return [(memory_of(row), row.updated) for row in await tx.execute(text(statement), values)]


async def search_memories(
    tx: Transaction, wanted: Filter, words: str, after: tuple[float, datetime, str, str] | None, limit: int
) -> list[Ranked]:
    """Up to `limit` memories that match, after a sort key, the best first; see `RANKED` for how many are looked at."""
    rank, updated, session_id, key = after or (None, None, None, None)
    values = {
        **wanted._asdict(), "text": words, "ranked": RANKED, "newest": NEWEST, "limit": limit,
        "rank": rank, "updated": updated, "after_session": session_id, "after_key": key,
    }  # fmt: skip
    rows = await tx.execute(text(_search(wanted, beyond=after is not None)), values)
    return [Ranked(memory_of(row), row.rank, row.updated) for row in rows]


async def query_tree(tx: Transaction, words: str) -> str:
    """What of a search an index can look for: '' when only stop words are left, 'T' when it only leaves words out."""
    tree: str = (await tx.execute(_QUERY_TREE, {"text": words})).scalar_one()
    return tree


async def highlight(tx: Transaction, words: str, documents: list[str]) -> list[str]:
    """The parts of each text that match, the words that do between `MARKS`."""
    values = {"text": words, "documents": documents, "options": _HEADLINE}
    return list((await tx.execute(_HIGHLIGHTS, values)).scalars())


def _search(wanted: Filter, *, beyond: bool) -> str:
    """The statement of a search.

    `matching` is one scan of memories_search, read only as far as `found` asks: the limit stands outside, since a
    planner that counts on it reads the table instead. `recent`, by memories_newest, runs only when there was more.
    """
    columns = "session_id, key, version, updated"
    within = wanted._replace(type=None, tags=None)
    candidates = ["found", "recent"]
    replaced = ""
    if wanted.as_of is not None:
        candidates.append("replaced")
        replaced = f"""
            replaced as (
                select {columns}, {_RANK} as rank from (
                    select {columns}, {_VERSION_WORDS} as search from (
                        select * from memory_versions {wanted.conditions(replaced=True)}
                        order by {_NEWEST_FIRST} limit :ranked
                    ) as versions
                ) as words
                where search @@ {_QUERY}
            ),"""  # noqa: S608
    return f"""
        with matching as materialized (
            select {columns}, {_RANK} as rank from memories {wanted.conditions(f"search @@ {_QUERY}")}
        ), found as materialized (
            select * from matching limit :ranked + 1
        ), recent as (
            select {columns}, {_RANK} as rank from (
                select * from memories {within.conditions()} order by {_NEWEST_FIRST} limit :newest
            ) as newest
            {wanted.conditions(f"(select count(*) from found) > :ranked and search @@ {_QUERY}")} limit :ranked
        ), {replaced}
        page as (
            select * from ({" union ".join(f"select * from {each}" for each in candidates)}) as candidates
            {"where (rank, updated, session_id, key) < (:rank, :updated, :after_session, :after_key)" if beyond else ""}
            order by {_BEST_FIRST} limit :limit
        )
        select memory.*, page.rank from page, lateral (
            select {COLUMNS} from memories
            where session_id = page.session_id and key = page.key and version = page.version
            union all
            select {COLUMNS} from memory_versions
            where session_id = page.session_id and key = page.key and version = page.version
        ) as memory
        order by {_BEST_FIRST}
    """  # noqa: S608
