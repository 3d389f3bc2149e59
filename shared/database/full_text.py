"""What every full-text search does: reading a question, and showing where a text answers it."""

from html import escape

from sqlalchemy import text

from shared.database import Transaction
from shared.errors import invalid
from shared.messages import JsonText

# A highlight is searched for in so much of a content: to parse a whole one of 1 MB takes 100 ms.
HIGHLIGHTED = 20_000
# Control characters mean nothing to a reader, and two of them mark the words of a highlight.
_CONTROLS = {code: " " for code in range(32) if code not in (9, 10)}
# Marks that no text holds, which become tags once the rest is escaped.
_START, _STOP = "\x02", "\x03"
_HEADLINE = (
    f"StartSel={_START}, StopSel={_STOP}, MaxFragments=3, MaxWords=20, MinWords=10, ShortWord=0,"
    ' FragmentDelimiter=" … "'
)

# What a search says once stop words are gone: '' when nothing is left, 'T' when it only leaves words out.
_QUERY_TREE = text("select querytree(websearch_to_tsquery('english', cast(:text as text)))")

# The matching parts of some texts, in their order. Parses each text, so it is asked for the rows of one page only.
_HIGHLIGHTS = text("""
    select ts_headline('english', document, websearch_to_tsquery('english', cast(:text as text)), :options)
    from unnest(cast(:documents as text[])) with ordinality as page (document, at) order by at
""")


async def is_answerable(tx: Transaction, words: str, field: str) -> bool:
    """Whether an index can look for these words: there are others than stop words among them.

    Raises `Rejected("invalid")` naming the field when they only leave words out.
    """
    tree: str = (await tx.execute(_QUERY_TREE, {"text": words})).scalar_one()
    if tree == "T":
        raise invalid(f"`{field}` must name a word to look for, not only words to leave out", **{field: words})
    return bool(tree)


async def highlight(tx: Transaction, words: str, documents: list[str]) -> list[str]:
    """The parts of each text that match, as HTML: escaped, and the words that do in `<mark>`."""
    if not documents:
        return []
    shown = [document[:HIGHLIGHTED].translate(_CONTROLS) for document in documents]
    marked = await tx.execute(_HIGHLIGHTS, {"text": words, "documents": shown, "options": _HEADLINE})
    return [as_html(each) for each in marked.scalars()]


def readable(content: JsonText) -> str:
    """What a person would read of a content: its strings, a line each, as far as a highlight looks."""
    lines: list[str] = []
    room = HIGHLIGHTED
    waiting = [content.value()]
    while waiting and room > 0:
        value = waiting.pop()
        if isinstance(value, str):
            lines.append(value[:room])
            room -= len(value) + 1
        elif isinstance(value, dict):
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))
    return "\n".join(lines).translate(_CONTROLS)


def as_html(marked: str) -> str:
    """A text with marked words as HTML."""
    return escape(marked, quote=False).replace(_START, "<mark>").replace(_STOP, "</mark>")
