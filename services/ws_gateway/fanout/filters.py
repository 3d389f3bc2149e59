"""The focus of a connection: topics, tags and words, any of which is enough. Judged once for a group."""

import re
from dataclasses import dataclass, field

from services.ws_gateway.requests import Focus
from services.ws_gateway.stream.about import WORD
from services.ws_gateway.stream.frames import Frame
from shared.errors import Rejected, invalid
from shared.topics import Topics, check_pattern

MAX_TOPICS, MAX_TAGS, MAX_WORDS = 100, 100, 100
MAX_CHARACTERS = 100
# Routing keys remembered for each focus: there may be thousands of these.
CACHED_KEYS = 100
# Scripts that put no space between words: there a word is found wherever it stands.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class FocusFilter:
    """What is within the focus. Tags and words stand in lower case; a word of several is one beside the other."""

    topics: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    _matcher: Topics = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_matcher", Topics(self.topics, CACHED_KEYS))

    def __bool__(self) -> bool:
        return bool(self.topics or self.tags or self.words)

    def admits(self, frame: Frame) -> bool:
        """Whether an event lies within."""
        if self.topics and self._matcher.matches(frame.routing_key):
            return True
        if self.tags and not self.tags.isdisjoint(frame.about.tags):
            return True
        return bool(self.words) and self._has_word(frame)

    def _has_word(self, frame: Frame) -> bool:
        found = frame.words
        for word in self.words:
            if word in found.each or (" " in word and f" {word} " in found.text):
                return True
            if _UNSPACED.search(word) and word in found.text:
                return True
        return False

    def told(self) -> dict[str, list[str]]:
        """As the client is told of it."""
        return {"topics": sorted(self.topics), "tags": sorted(self.tags), "words": sorted(self.words)}


NO_FOCUS = FocusFilter()


def read_focus(asked: Focus) -> FocusFilter:
    """The focus a client asks for. Raises `Rejected("invalid")` saying what can't be one."""
    for name, given, most in (
        ("topics", asked.topics, MAX_TOPICS),
        ("tags", asked.tags, MAX_TAGS),
        ("words", asked.words, MAX_WORDS),
    ):
        if len(given) > most:
            raise invalid(f"`filters` holds at most {most} {name}, not {len(given)}")
        if any(not one.strip() for one in given):
            raise invalid(f"one of the {name} in `filters` is empty")
    for one in (*asked.tags, *asked.words):
        if len(one) > MAX_CHARACTERS:
            raise invalid(f"a tag or word in `filters` holds at most {MAX_CHARACTERS} characters: {one[:40]!r}…")
    return FocusFilter(
        frozenset(_pattern(topic) for topic in asked.topics),
        frozenset(tag.casefold() for tag in asked.tags),
        frozenset(_word(word) for word in asked.words),
    )


def _pattern(topic: str) -> str:
    try:
        return check_pattern(topic)
    except Rejected as rejected:
        raise invalid(f"in the topics of `filters`: {rejected.message}", **rejected.details) from None


def _word(given: str) -> str:
    words = WORD.findall(given.casefold())
    if not words:
        raise invalid(f"in the words of `filters`: {given!r} has no letter and no digit")
    return " ".join(words)
