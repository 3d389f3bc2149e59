"""Recognising text that is only a recalled memory sent back; pure.

What is compared is what a content *says*: its text in Unicode's compatibility form, without case, with single spaces,
and without what our own doors put around a memory they print. docs/memory.md tells the rule to users.
"""

import re
import unicodedata
from hashlib import blake2b
from html import unescape
from typing import Any

import orjson

from shared.messages import JsonText

# Longer text is never recognised: it would have to be normalised on the way of every memory.
MAX_LETTERS = 100_000

_QUOTED_LINE = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)
_FENCE = re.compile(r"\s*```[^\n`]*\n(.*)\n[ \t]*```\s*", re.DOTALL)
_MARK = re.compile(r"</?mark>")
# The quotation marks a text may stand between, after the compatibility form.
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019", "\u00ab": "\u00bb", "`": "`"}
# By these members an object is one of our memories, as retrieve_memory and query_memories print it.
_MEMORY = {"key", "type", "content", "version", "author"}


def says(content: JsonText) -> str | None:
    """What a content says, for comparing; None for numbers, booleans, null, blank and very long contents."""
    if len(content.text) > 4 * MAX_LETTERS:
        return None
    # Only text, lists and objects say something: `true` or 42 may well be meant again.
    if content.text[:1] not in b'"[{' or not (said := _said(content.value())):
        return None
    return said if len(said) <= MAX_LETTERS else None


def content_hash(session_id: str, said: str) -> int:
    """64 bits of what a content says in a session, signed as PostgreSQL's bigint is."""
    digest = blake2b(f"{session_id}\0{said}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _said(value: Any) -> str:
    value = _unwrapped(value)
    if isinstance(value, str):
        return _plain(value)
    # The order of an object's members says nothing.
    return _folded(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


def _unwrapped(value: Any) -> Any:
    """The content, when the value is a memory as our doors print it, alone or under its noun."""
    if isinstance(value, dict) and value.keys() in ({"memory"}, {"memory", "recalled"}):
        value = value["memory"]
    return value["content"] if isinstance(value, dict) and value.keys() >= _MEMORY else value


def _plain(text: str) -> str:
    if text.lstrip().startswith("{"):
        try:
            document = orjson.loads(text)
            if (unwrapped := _unwrapped(document)) is not document:
                return _said(unwrapped)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            # No JSON, or deeper than any memory: text like any other.
            pass
    if "<mark>" in text:
        # A highlight is HTML.
        text = unescape(_MARK.sub("", text))
    if "```" in text and (fenced := _FENCE.fullmatch(text)):
        text = fenced[1]
    if text.lstrip().startswith(">") and all(line.lstrip().startswith(">") for line in text.strip().splitlines()):
        text = _QUOTED_LINE.sub("", text)
    text = _folded(text)
    while len(text) > 2 and text[0] in _QUOTES and _QUOTES[text[0]] == text[-1]:
        text = text[1:-1].strip()
    return text


def _folded(text: str) -> str:
    """Compatibility form, no case, single spaces; ASCII is in that form already."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        return " ".join(text.split())
    return " ".join(text.lower().split())
