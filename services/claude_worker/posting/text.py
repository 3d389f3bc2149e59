"""An answer as rooms take it: in pieces that are not too long, and as HTML in which nothing of it is a tag; no I/O.

What bots say is Markdown. Code between fences stays whole where it can; lines and spaces stay as they are.
"""

import re
from collections.abc import Iterator
from html import escape, unescape
from typing import NamedTuple

# What a room is shown at once, in characters; and in how many messages.
PIECE = 4_000
MAX_PIECES = 25
# Possessive: what the model writes must not have it tried in every way there is.
_FENCE = re.compile(r" {0,3}(?P<marks>`{3,}+|~{3,}+)[ \t]*+(?P<word>[^\s`]*+)[^`]*+")
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SPACES = re.compile(r"(?m)^ +| {2,}")
_TAG = re.compile(r"<[^<>]*>")
# Where a text is cut, the best places first: after a line, a sentence, a word.
_CUTS = (re.compile(r"\n"), re.compile(r"[.!?…]['\"”)]? "), re.compile(r"\s"))


class Block(NamedTuple):
    """A part of an answer: a paragraph or more, or (`fence` not None, its first line) code."""

    text: str
    fence: str | None = None

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to see in it."""
        return not self.text.strip()


# What is shown at once.
Piece = tuple[Block, ...]


def pieces(text: str, limit: int = PIECE, most: int = MAX_PIECES) -> list[Piece]:
    """The text in pieces of up to `limit` characters, cut between paragraphs where that can be; none if it is blank.

    Code that goes over several pieces is code in each. Of more than `most` pieces the last one says how much is
    missing.
    """
    found = blocks(clean(text))
    if size_of(tuple(found)) <= limit:
        return [tuple(found)] if found else []
    made: list[Piece] = []
    for part in _parts(found, limit):
        if made and size_of((*made[-1], part)) <= limit:
            made[-1] = _joined(made[-1], part)
        else:
            made.append((part,))
    if len(made) > most:
        missing = sum(map(size_of, made[most - 1 :]))
        told = f"(and {missing} characters more, too many for a room: the whole answer is in Switchyard)"
        made[most - 1 :] = [(Block(told),)]
    return made


def size_of(piece: Piece) -> int:
    """How many characters a piece has, with two between its blocks."""
    return sum(len(block.text) for block in piece) + 2 * max(0, len(piece) - 1)


def to_html(piece: Piece) -> str:
    """A body of HTML that reads like the piece: only line breaks and code are marked, the rest is escaped."""
    return "".join(
        f"<pre>{escape(block.text)}</pre>" if block.fence is not None else f"<div>{_lines(block.text)}</div>"
        for block in piece
    )


def clean(text: str) -> str:
    """The text without what nobody can see: control characters, and blank lines round it."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).encode(errors="replace").decode()
    return text.strip("\n").rstrip() if text.strip() else ""


def reads_like(html: str, other: str) -> bool:
    """Whether two bodies say the same, whatever a server has made of tags and spaces."""
    return _bare(html) == _bare(other)


def blocks(text: str) -> list[Block]:
    """The blocks of a text; a fence that is never closed goes to its end."""
    found: list[Block] = []
    fence: re.Match[str] | None = None
    held: list[str] = []

    def end() -> None:
        said = "\n".join(held)
        opening = f"{fence['marks']}{fence['word']}" if fence else None
        block = Block(said if fence else said.strip("\n").rstrip(), opening)
        if not block.is_blank:
            found.append(block)
        held.clear()

    for line in text.split("\n"):
        mark = _FENCE.fullmatch(line)
        if fence is None and mark:
            end()
            fence = mark
        elif fence is not None and mark and not mark["word"] and mark["marks"].startswith(fence["marks"]):
            end()
            fence = None
        else:
            held.append(line)
    end()
    return found


def _parts(found: list[Block], limit: int) -> Iterator[Block]:
    for block in found:
        if block.fence is not None:
            for part in _cut(block.text, limit, _CUTS[:1]):
                yield Block(part, block.fence)
            continue
        for paragraph in _BLANK_LINES.split(block.text):
            for part in _cut(paragraph, limit):
                yield Block(part)


def _joined(piece: Piece, part: Block) -> Piece:
    last = piece[-1]
    if last.fence is None and part.fence is None:
        return (*piece[:-1], Block(f"{last.text}\n\n{part.text}"))
    return (*piece, part)


def _cut(text: str, limit: int, cuts: tuple[re.Pattern[str], ...] = _CUTS) -> Iterator[str]:
    while len(text) > limit:
        place = _place(text, limit, cuts)
        if text[:place].strip():
            yield text[:place].rstrip() if cuts is _CUTS else text[:place].rstrip("\n")
        text = text[place:].lstrip("\n")
    if text.strip():
        yield text


def _place(text: str, limit: int, cuts: tuple[re.Pattern[str], ...]) -> int:
    for cut in cuts:
        # Rather a worse cut than a piece that is nearly empty.
        places = [found.end() for found in cut.finditer(text, limit // 4, limit)]
        if places:
            return places[-1]
    return limit


def _lines(text: str) -> str:
    hard = _SPACES.sub(lambda found: "\N{NO-BREAK SPACE}" * len(found[0]), text.expandtabs(4))
    return escape(hard).replace("\n", "<br>")


def _bare(html: str) -> str:
    return re.sub(r"\s", "", unescape(_TAG.sub("", html)))
