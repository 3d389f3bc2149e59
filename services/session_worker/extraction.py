"""Finds ideas, decisions, questions and action items in a conversation text by its wording; pure, in linear time.

The rules, in the order they win, told with examples in docs/extraction.md. Text between ``` or ~~~ fences is skipped,
and a sentence counts once:

1. A line with a label gives what follows it: `Decision: …`, `TODO(bob): …`, `- **Idea:** …`, `Alice: Question: …`. A
   label with nothing behind it (`Action items:`, `## Decisions`) gives each line of the list below it.
2. An open checkbox, `- [ ] …`, is an action item; one that is ticked never is.
3. A sentence that ends in `?` is an idea when it begins like a proposal (`What if …`), else a question.
4. A sentence with one of the phrases below is a decision, an action item or an idea, in that order.

Each item is the sentence or the rest of the line, without list marks and the speaker's name, at most 500 letters long;
at most 100 of each kind, in the order of the text, each text once.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

KINDS = ("ideas", "decisions", "questions", "action_items")
MAX_ITEMS = 100
MAX_LETTERS = 500

_LABELS = {
    b"idea": "ideas",
    b"proposal": "ideas",
    b"suggestion": "ideas",
    b"decision": "decisions",
    b"decided": "decisions",
    b"agreed": "decisions",
    b"question": "questions",
    b"open question": "questions",
    b"action": "action_items",
    b"action item": "action_items",
    b"next step": "action_items",
    b"task": "action_items",
    b"todo": "action_items",
    b"to do": "action_items",
    b"to-do": "action_items",
    b"fixme": "action_items",
}

# In the order they win.
_PHRASES = {
    "decisions": (
        "we decided", "we have decided", "we've decided", "i decided", "i have decided", "i've decided", "was decided",
        "we agreed", "we have agreed", "we've agreed", "was agreed", "we chose", "we have chosen", "we've chosen",
        "we settled on", "we will go with", "we'll go with", "let's go with", "we are going with", "we're going with",
        "we will use", "we'll use", "let's use", "the decision is",
    ),
    "action_items": (
        "we need to", "i need to", "you need to", "needs to be", "need to be", "has to be", "have to be", "we must",
        "we have to", "we still have to", "remember to", "don't forget to", "make sure to", "action item",
        "follow up with", "follow up on", "todo", "to-do", "next step is",
    ),
    "ideas": (
        "we could", "you could", "we should", "we might", "maybe we", "perhaps we", "i suggest", "i propose", "my idea",
        "the idea is", "an idea", "might be worth", "would be worth", "it would be nice", "alternatively",
    ),
}  # fmt: skip
_PROPOSALS = (
    b"what if ",
    b"how about ",
    b"what about ",
    b"maybe ",
    b"perhaps ",
    b"could we ",
    b"why not ",
    b"why don't we ",
    "why don\u2019t we ".encode(),
)

_FENCE = re.compile(rb"```|(?m:^)[ \t]{0,3}~~~")
_MARK = rb"(?:[-*+>]|\d{1,3}[.)])"
# A name of one or two words, perhaps with the time: `ada`, `Ada Lovelace (12:03)`, `[12:03] ada`.
_TIME = rb"\d[\d:., /apmAPMTZ-]{0,30}"
_SPEAKER = rb"(?:\[" + _TIME + rb"\][ \t]{1,4})?[A-Za-z][\w.'-]{0,30}(?:[ ][\w.'-]{1,30})?(?:[ ]\(" + _TIME + rb"\))?"
_LABELLED = re.compile(
    rb"(?mi)^[ \t]{0,12}(?:(?:" + _MARK + rb"|#{1,6})[ \t]{1,4})?(?:" + _SPEAKER + rb":[ \t]{1,4})?[*_]{0,3}"
    rb"(" + b"|".join(_LABELS) + rb")s?(?:\([^)\n]{1,40}\))?[ \t]{0,2}[*_]{0,3}:[*_]{0,3}(.*)$"
)  # fmt: skip
_HEADING = re.compile(
    rb"(?mi)^[ \t]{0,3}#{1,6}[ \t]{1,4}[*_]{0,3}(" + b"|".join(_LABELS) + rb")s?[*_]{0,3}[ \t]{0,4}#{0,6}[ \t\r]{0,4}$"
)
_LIST_LINE = re.compile(rb"[ \t]{0,12}" + _MARK + rb"[ \t]{1,4}(?:\[([ xX])\][ \t]{1,4})?(.*)(?:\n|\Z)")
_EMPTY_LINE = re.compile(rb"[ \t\r]{0,20}\n")
_OPEN_BOX = re.compile(rb"(?m)^[ \t]{0,12}" + _MARK + rb"[ \t]{1,4}\[ \][ \t]{1,4}(.*)$")
# One mark at a time: a repetition before the look-ahead would cost the square of a run of dots.
_SENTENCE_END = re.compile(rb"[.!?](?=[\s\"')\]*_]|\Z)|\n")
_BEFORE_SENTENCE = re.compile(
    rb"[\s\"'(\[*_]{0,12}(?:" + _MARK + rb"[ \t]{1,4})?(?:\[[ xX]\][ \t]{1,4})?[*_]{0,3}"
    rb"(?:" + _SPEAKER + rb"[*_]{0,3}:[*_]{0,3}[ \t]{1,4})?"
)  # fmt: skip

Span = tuple[int, int]


def extract(content: str) -> dict[str, list[str]]:
    """The items of a text by kind; each kind is always there, if only as an empty list."""
    raw = content.encode(errors="replace")
    if b"```" in raw or b"~~~" in raw:
        raw = b"\n".join(_FENCE.split(raw)[::2])
    low = raw.lower()  # of ASCII letters only, so that places in it are places in `raw`
    items: dict[Span, str] = {}
    for kind, span in _labelled(raw, low):
        items.setdefault(span, kind)
    if b"?" in low or any(phrase in low for phrases in _ENCODED.values() for phrase in phrases):
        taken = sorted(items)
        for kind, span in _sentences(raw, low):
            if not _overlaps(span, taken):
                items[span] = kind
    found: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}
    for (start, end), kind in sorted(items.items()):
        text = raw[start:end].strip().decode()
        if text and len(found[kind]) < MAX_ITEMS:
            found[kind].setdefault(text[:MAX_LETTERS])
    return {kind: list(texts) for kind, texts in found.items()}


def _both_apostrophes(phrase: str) -> list[bytes]:
    return [phrase.encode(), *([phrase.replace("'", "\u2019").encode()] if "'" in phrase else [])]


_ENCODED = {
    kind: [form for phrase in phrases for form in _both_apostrophes(phrase)] for kind, phrases in _PHRASES.items()
}


def _labelled(raw: bytes, low: bytes) -> Iterator[tuple[str, Span]]:
    """Rules 1 and 2: lines that say themselves what they are."""
    if any(label in low for label in _LABELS):
        for line in _LABELLED.finditer(raw):
            kind = _LABELS[line[1].lower()]
            if line[2].strip(b" \t*_"):
                yield kind, line.span(2)
            else:
                yield from _list_below(raw, line.end() + 1, kind)
        if b"#" in raw:
            for heading in _HEADING.finditer(raw):
                yield from _list_below(raw, heading.end() + 1, _LABELS[heading[1].lower()])
    if b"[ ]" in low:
        for box in _OPEN_BOX.finditer(raw):
            yield "action_items", box.span(1)


def _list_below(raw: bytes, place: int, kind: str) -> Iterator[tuple[str, Span]]:
    """The lines of the list that begins at a place, or after an empty line there.

    Not those that are ticked off, nor those with a label of their own.
    """
    empty = _EMPTY_LINE.match(raw, place)
    place = empty.end() if empty else place
    while (entry := _LIST_LINE.match(raw, place)) is not None:
        if entry[1] not in (b"x", b"X") and not _LABELLED.match(raw, place):
            yield kind, entry.span(2)
        place = entry.end()


def _sentences(raw: bytes, low: bytes) -> Iterator[tuple[str, Span]]:
    """Rules 3 and 4: sentences that ask, and sentences with a telling phrase."""
    ends = [0, *(end.end() for end in _SENTENCE_END.finditer(raw)), len(raw)]
    left = dict.fromkeys(KINDS, 2 * MAX_ITEMS)  # some may be said twice
    telling = {kind: sorted(_places(low, phrases)) for kind, phrases in _ENCODED.items()}
    at = dict.fromkeys(telling, 0)
    for start, end in pairwise(ends):
        said, said_at = None, end
        for kind, places in telling.items():
            place = at[kind]
            while place < len(places) and places[place] < start:
                place += 1
            at[kind] = place
            if said is None and place < len(places) and places[place] < end:
                said, said_at = kind, places[place]
        asks = raw[end - 1 : end] == b"?"
        if not asks and said is None:
            continue
        before = _BEFORE_SENTENCE.match(raw, start, end)
        # `We decided: now.` has no speaker of that name.
        if before and (asks or before.end() <= said_at):
            start = before.end()
        if asks:
            said = "ideas" if low.startswith(_PROPOSALS, start) else "questions"
        if said is not None and left[said]:
            left[said] -= 1
            yield said, (start, end)


def _places(low: bytes, phrases: list[bytes]) -> Iterator[int]:
    """Where the phrases stand as whole words; the first thousand of each."""
    for phrase in phrases:
        place = -1
        for _ in range(1000):
            place = low.find(phrase, place + 1)
            if place < 0:
                break
            end = place + len(phrase)
            if not low[place - 1 : place].isalnum() and not low[end : end + 1].isalnum():
                yield place


def _overlaps(span: Span, taken: list[Span]) -> bool:
    """Whether a sentence lies in a line that a label has claimed; `taken` is sorted and free of overlaps."""
    low, high = 0, len(taken)
    while low < high:
        middle = (low + high) // 2
        if taken[middle][1] <= span[0]:
            low = middle + 1
        else:
            high = middle
    return low < len(taken) and taken[low][0] < span[1]
