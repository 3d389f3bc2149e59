"""The question that looks through chunks, memories and artifacts."""

from datetime import datetime
from typing import Any, get_args

from services.session_worker.store import search as store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.database.full_text import highlight, is_answerable, readable
from shared.messages import Command, JsonText, rfc3339
from shared.messages.reading import Hit, HitKind, Search
from shared.pages import cursor_after, page_of, sort_key

_TITLE_LENGTH = 80


async def search(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of hits, the best first; nothing when the words are all too common to be looked for."""
    asked: Search = command.data
    after = sort_key(asked.cursor, float, datetime, str, str, str)
    if not await is_answerable(tx, asked.q, "q"):
        return {"hits": [], "next": None}
    kinds = [kind for kind in get_args(HitKind) if asked.kinds is None or kind in asked.kinds]
    rows = await store.search(tx, asked.q, kinds, asked.session_id, after, asked.limit + 1)
    page, last = page_of(rows, asked.limit)
    texts = [readable(JsonText(found.content.encode())) if found.kind == "memory" else found.content for found in page]
    marked = await highlight(tx, asked.q, texts)
    return {
        "hits": [_hit(found, html) for found, html in zip(page, marked, strict=True)],
        "next": cursor_after(*last.sort_key) if last else None,
    }


def _hit(found: store.Found, html: str) -> Hit:
    return Hit(
        kind=found.kind,
        session_id=found.session_id,
        id=found.id,
        title=_title(found.title),
        rank=found.rank,
        highlight=html,
        created=rfc3339(found.moment),
    )


def _title(text: str) -> str:
    """The first line of a text, cut to what fits a list."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _TITLE_LENGTH else f"{line[: _TITLE_LENGTH - 1]}…"


QUERIES: dict[str, QueryHandler] = {"search": search}
