"""The memory worker's reading commands."""

from datetime import datetime
from typing import Any

from services.memory_worker import memories
from services.memory_worker.store import memories as store
from services.memory_worker.store import search
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import invalid
from shared.messages import Command
from shared.messages.memory import FoundMemory, QueryMemories, RetrieveMemory
from shared.pages import cursor_after, page_of, sort_key


async def retrieve_memory(tx: Transaction, command: Command) -> dict[str, Any]:
    """One memory by its key, now or as it was at a moment. Raises `Rejected("not_found")`."""
    data: RetrieveMemory = command.data
    as_of = memories.moment(data.as_of)
    memory, session_exists = await store.find_memory(tx, data.session_id, data.key, as_of)
    if memory is None:
        raise memories.missing(data.session_id, data.key, as_of, session_exists=session_exists)
    return {"memory": memory}


async def query_memories(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of memories, the newest first; with `text` the best first, each with its rank and a highlight."""
    data: QueryMemories = command.data
    wanted = search.Filter(data.session_id, data.type, data.tags, memories.moment(data.as_of))
    if data.text is not None:
        return await _search(tx, wanted, data.text, data)
    rows = await search.list_memories(tx, wanted, sort_key(data.cursor, datetime, str, str), data.limit + 1)
    page, last = page_of(rows, data.limit)
    after = cursor_after(last[1], last[0].session_id, last[0].key) if last else None
    return {"memories": [FoundMemory(**memory.__dict__) for memory, _ in page], "next": after}


async def _search(tx: Transaction, wanted: search.Filter, words: str, data: QueryMemories) -> dict[str, Any]:
    after = sort_key(data.cursor, float, datetime, str, str)
    tree = await search.query_tree(tx, words)
    if tree == "T":
        raise invalid("`text` must name a word to look for, not only words to leave out", text=words)
    rows = await search.search_memories(tx, wanted, words, after, data.limit + 1) if tree else []
    page, last = page_of(rows, data.limit)
    contents = [memories.readable(found.memory.content) for found in page]
    marked = await search.highlight(tx, words, contents) if page else []
    return {
        "memories": [
            FoundMemory(**found.memory.__dict__, rank=found.rank, highlight=memories.as_html(text, *search.MARKS))
            for found, text in zip(page, marked, strict=True)
        ],
        "next": cursor_after(last.rank, last.updated, last.memory.session_id, last.memory.key) if last else None,
    }


QUERIES: dict[str, QueryHandler] = {query.__name__: query for query in (retrieve_memory, query_memories)}
