"""SQL of the search over chunks, memories and artifacts; the memories are the memory worker's, and only read here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages.reading import HitKind

# What a search may look at in each kind, so that a word of a million texts is answered about as quickly as a rare one.
# Up to so many matches, all are ranked. Of more: as many of the first in the table, and as many among the newest rows.
RANKED = 1_000
NEWEST = 5_000

_QUERY = "websearch_to_tsquery('english', cast(:words as text))"
_RANK = f"cast(ts_rank_cd(search, {_QUERY}) as float8)"
# A memory's JSON is as large as its sender made it; beyond what PostgreSQL indexes by its strings, its text will do.
_MEMORY_CONTENT = """case when octet_length(content::text) <= 300000 then content::text
    else to_json(left(content::text, 20000))::text end"""
_CONTENT = "left(content, 20000)"


class _Kind(NamedTuple):
    """Where a kind of hit is found. Its words are in an index named after the table, `…_search`."""

    table: str
    id: str
    # The moment it is listed by; `…_newest` has it in order, and an index of a session's own rows too.
    moment: str
    title: str
    content: str
    where: str = "true"


_KINDS: dict[HitKind, _Kind] = {
    "chunk": _Kind("conversation_chunks", "chunk_id", "created", "left(content, 200)", _CONTENT),
    "memory": _Kind("memories", "key", "updated", "key", _MEMORY_CONTENT, "forgotten is null"),
    "artifact": _Kind("artifacts", "artifact_id", "created", "name", _CONTENT),
}
_ORDER = "rank desc, moment desc, kind, session_id, id"
# Descending and ascending parts can't be compared as one row.
_AFTER = """(rank, moment) < (:rank, :moment)
    or (rank, moment) = (:rank, :moment) and (kind, session_id, id) > (:kind, :after_session, :after_id)"""

After = tuple[float, datetime, str, str, str]


class Found(NamedTuple):
    """A text that matches, with as much of it as a highlight looks at; a memory's is JSON."""

    kind: HitKind
    session_id: str
    id: str
    moment: datetime
    rank: float
    title: str
    content: str

    @property
    def sort_key(self) -> After:
        """Where the next page goes on."""
        return self.rank, self.moment, self.kind, self.session_id, self.id


async def search(
    tx: Transaction, words: str, kinds: Sequence[HitKind], session_id: str | None, after: After | None, limit: int
) -> list[Found]:
    """Up to `limit` texts that match, after a sort key, the best first; see `RANKED` for how many are looked at."""
    names = ("rank", "moment", "kind", "after_session", "after_id")
    values: dict[str, Any] = dict(zip(names, after or (None,) * len(names), strict=True))
    values |= {"words": words, "session_id": session_id, "ranked": RANKED, "newest": NEWEST, "limit": limit}
    statement = search_statement(kinds, in_session=session_id is not None, beyond=after is not None)
    return [_found(row) for row in await tx.execute(text(statement), values)]


def search_statement(kinds: Sequence[HitKind], *, in_session: bool, beyond: bool) -> str:
    """The statement of a search: one scan of each kind's `…_search`, the page of all of them, then the page's texts.

    `matching` is read only as far as `found` asks: the limit stands outside, since a planner that counts on it reads
    the table instead. `recent`, by `…_newest` or the index of a session's rows, runs only when there was more.
    """
    within = "session_id = :session_id" if in_session else "true"
    parts, candidates, contents = [], [], []
    for kind in kinds:
        table, identifier, moment, title, content, where = _KINDS[kind]
        columns = f"'{kind}' as kind, session_id, {identifier} as id, {moment} as moment, {_RANK} as rank"
        parts.append(f"""
            matching_{kind} as materialized (
                select {columns} from {table} where {within} and {where} and search @@ {_QUERY}
            ), found_{kind} as materialized (
                select * from matching_{kind} limit :ranked + 1
            ), recent_{kind} as (
                select {columns} from (
                    select * from {table} where {within} and {where} order by {moment} desc limit :newest
                ) as newest
                where (select count(*) from found_{kind}) > :ranked and search @@ {_QUERY} limit :ranked
            )""")  # noqa: S608
        candidates += [f"select * from found_{kind}", f"select * from recent_{kind}"]  # noqa: S608
        contents.append(
            f"select {title} as title, {content} as content from {table}"  # noqa: S608
            f" where page.kind = '{kind}' and session_id = page.session_id and {identifier} = page.id"
        )
    return f"""
        with {", ".join(parts)}, page as (
            select * from ({" union ".join(candidates)}) as candidates
            {f"where {_AFTER}" if beyond else ""}
            order by {_ORDER} limit :limit
        )
        select page.*, shown.title, shown.content from page, lateral ({" union all ".join(contents)}) as shown
        order by {_ORDER}
    """  # noqa: S608


def _found(row: Row[Any]) -> Found:
    return Found(row.kind, row.session_id, row.id, row.moment, row.rank, row.title, row.content)
