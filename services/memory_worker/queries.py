"""The memory worker's reading commands."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from services.memory_worker import heat_map, memories, ranking
from services.memory_worker.embeddings import SEARCH_TIMEOUT_SECONDS, EmbeddingsError, Vector
from services.memory_worker.store import activity, forgetting, search, vectors
from services.memory_worker.store import memories as store
from services.memory_worker.vectors import Embedder
from shared.bus.queries import PreparedQuery, QueryHandler
from shared.database import Transaction
from shared.database.full_text import highlight, readable
from shared.errors import Rejected, invalid
from shared.messages import Command
from shared.messages.memory import FoundMemory, GetHeatMap, MemoryHistory, QueryMemories, RetrieveMemory
from shared.pages import cursor_after, page_of, sort_key

# By words and by meaning so many of the best are looked at; what is on neither list is not found.
FUSED = 100
# More searches than these don't wait for the endpoint: a slow one would keep every other read waiting too.
ASKING_AT_ONCE = 8


async def retrieve_memory(tx: Transaction, command: Command) -> dict[str, Any]:
    """One memory by its key, now or as it was at a moment. Raises `Rejected("not_found")`."""
    data: RetrieveMemory = command.data
    as_of = memories.moment(data.as_of)
    found = await store.find_memory(tx, data.session_id, data.key, as_of)
    if found.memory is None:
        raise memories.missing(
            data.session_id, data.key, as_of, session_exists=found.session_exists, forgotten=found.forgotten
        )
    return {"memory": found.memory}


async def memory_history(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of a memory's versions, the newest first. Raises `Rejected("not_found")`."""
    data: MemoryHistory = command.data
    (before,) = sort_key(data.cursor, int) or (2**31 - 1,)
    rows = await forgetting.list_versions(tx, data.session_id, data.key, before=before, limit=data.limit + 1)
    if not rows:
        found = await store.find_memory(tx, data.session_id, data.key, None)
        if found.memory is None and found.forgotten is None:
            raise memories.missing(data.session_id, data.key, None, session_exists=found.session_exists)
    page, last = page_of(rows, data.limit)
    return {"versions": page, "next": cursor_after(last.version) if last else None}


async def get_heat_map(tx: Transaction, command: Command) -> dict[str, Any]:
    """Where memories change at the moment, as an agent should see it, in words too."""
    data: GetHeatMap = command.data
    activities = await activity.latest_activity(tx, data.session_id, timedelta(hours=data.hours))
    agent = data.agent_id or command.sender_agent_id
    return {
        "heat_map": heat_map.drawn(
            activities, agent_id=agent, looks_at=data.focus, hours=data.hours, now=datetime.now(UTC)
        )
    }


def query_memories(embedder: Embedder | None) -> PreparedQuery:
    """The search, by meaning too where there is an embedder."""
    asking = asyncio.Semaphore(ASKING_AT_ONCE)

    async def vector_of_meaning(command: Command) -> Vector | None:
        """The vector a search by meaning needs. Raises `Rejected` when it is blank, or can't be had."""
        data: QueryMemories = command.data
        if data.meaning is None:
            return None
        if not data.meaning.strip():
            raise invalid("`meaning` is blank; say what the memories are to be about, or leave it out")
        if embedder is None:
            raise _unavailable(
                "not_configured",
                "no embeddings endpoint is configured: set SWITCHYARD_EMBEDDINGS_URL of the memory worker to an"
                " OpenAI-compatible one, or search by `text`",
            )
        if embedder.fault is not None:
            raise _unavailable("not_ready", f"{embedder.fault}; until then, search by `text`")
        if asking.locked():
            raise _unavailable("busy", f"{ASKING_AT_ONCE} searches wait for the embeddings endpoint; try again soon")
        try:
            async with asking:
                (vector,) = await embedder.embeddings.of([data.meaning], seconds=SEARCH_TIMEOUT_SECONDS)
        except EmbeddingsError as error:
            raise _unavailable("endpoint", f"no vector could be made: {error.told}; search by `text`") from None
        return vector

    async def answer(tx: Transaction, command: Command, needed: Vector | None) -> dict[str, Any]:
        """A page of memories, the newest first; with `text` or `meaning` the best first, each with its rank."""
        data: QueryMemories = command.data
        wanted = search.Filter(data.session_id, data.type, data.tags, memories.moment(data.as_of))
        if needed is not None and embedder is not None:
            return await _by_meaning(tx, wanted, data, embedder.embeddings.model, needed)
        if data.text is not None:
            return await _by_text(tx, wanted, data.text, data)
        rows = await search.list_memories(tx, wanted, sort_key(data.cursor, datetime, str, str), data.limit + 1)
        page, last = page_of(rows, data.limit)
        after = cursor_after(last[1], last[0].session_id, last[0].key) if last else None
        return {"memories": [FoundMemory(**memory.__dict__) for memory, _ in page], "next": after}

    return PreparedQuery(vector_of_meaning, answer)


async def _by_text(tx: Transaction, wanted: search.Filter, words: str, data: QueryMemories) -> dict[str, Any]:
    after = sort_key(data.cursor, float, datetime, str, str)
    rows = await _matching(tx, wanted, words, after, data.limit + 1)
    return await _page(tx, rows, data)


async def _by_meaning(
    tx: Transaction, wanted: search.Filter, data: QueryMemories, model: str, vector: Vector
) -> dict[str, Any]:
    after = sort_key(data.cursor, float, datetime, str, str)
    lists = [await vectors.nearest(tx, wanted, model, vector, FUSED)]
    if data.text is not None:
        lists.append(await _matching(tx, wanted, data.text, None, FUSED))
    # A replaced version may be found by its words, and the one in force by its meaning.
    found = {(one.memory.session_id, one.memory.key, one.memory.version): one for each in lists for one in each}
    scores = ranking.fused(
        *([(one.memory.session_id, one.memory.key, one.memory.version) for one in each] for each in lists)
    )
    rows = [found[place]._replace(rank=score) for place, score in scores.items()]
    rows.sort(key=_best_last, reverse=True)
    if after is not None:
        rows = [row for row in rows if _best_last(row) < after]
    return await _page(tx, rows[: data.limit + 1], data)


async def _matching(
    tx: Transaction, wanted: search.Filter, words: str, after: tuple[float, datetime, str, str] | None, limit: int
) -> list[search.Ranked]:
    expected = await search.prospect(tx, wanted, words)
    if expected.tree == "T":
        raise invalid("`text` must name a word to look for, not only words to leave out", text=words)
    return await search.search_memories(tx, wanted, words, expected, after, limit) if expected.tree else []


async def _page(tx: Transaction, rows: Sequence[search.Ranked], data: QueryMemories) -> dict[str, Any]:
    page, last = page_of(list(rows), data.limit)
    marked: Sequence[str | None] = [None] * len(page)
    if page and data.text is not None:
        marked = await highlight(tx, data.text, [readable(found.memory.content) for found in page])
    return {
        "memories": [
            FoundMemory(**found.memory.__dict__, rank=found.rank, highlight=html)
            for found, html in zip(page, marked, strict=True)
        ],
        "next": cursor_after(last.rank, last.updated, last.memory.session_id, last.memory.key) if last else None,
    }


def _best_last(row: search.Ranked) -> tuple[float, datetime, str, str]:
    return row.rank, row.updated, row.memory.session_id, row.memory.key


def _unavailable(reason: str, message: str) -> Rejected:
    return Rejected("unavailable", f"`meaning` can't be answered: {message}", reason=reason)


def queries(embedder: Embedder | None = None) -> dict[str, QueryHandler]:
    """Every reading command, by its name."""
    return {
        "retrieve_memory": retrieve_memory,
        "query_memories": query_memories(embedder),
        "memory_history": memory_history,
        "get_heat_map": get_heat_map,
    }


QUERIES: dict[str, QueryHandler] = queries()
