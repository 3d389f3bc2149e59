"""How far a key reaches: the sessions it may work in, and the topics it may hear."""

from collections.abc import Iterable, Sequence

from shared.messages.envelope import topic_word
from shared.topics import Topics

# The areas whose topics have a session's id as their second word.
AREAS = ("session", "memory", "task")


class Sessions:
    """An allow-list of sessions: exact ids, and beginnings of ids with a trailing `*`."""

    __slots__ = ("_beginnings", "_exact", "_topic_beginnings", "_topic_words", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = frozenset(each for each in self.patterns if not each.endswith("*"))
        self._beginnings = tuple(each[:-1] for each in self.patterns if each.endswith("*"))
        self._topic_words = frozenset(topic_word(each) for each in self._exact)
        self._topic_beginnings = tuple(topic_word(each) for each in self._beginnings)

    def allow(self, session_id: str) -> bool:
        """Whether the session is on the list."""
        return session_id in self._exact or session_id.startswith(self._beginnings)

    def cover(self, pattern: str) -> bool:
        """Whether a topic pattern asks for nothing but the topics of these sessions."""
        area, _, rest = pattern.partition(".")
        word, dot, _ = rest.partition(".")
        # A wildcard in the session's place stands for sessions that are not on the list.
        if area not in AREAS or not dot or word in ("", "*", "#"):
            return False
        return word in self._topic_words or word.startswith(self._topic_beginnings)

    def __str__(self) -> str:
        return ", ".join(self.patterns)


def hears(pattern: str, topics: Topics | None, sessions: Sessions | None) -> bool:
    """Whether a topic pattern lies within these topics or those of these sessions; with neither, any does."""
    if topics is None and sessions is None:
        return True
    return (topics is not None and topics.cover(pattern)) or (sessions is not None and sessions.cover(pattern))


def beyond(patterns: Sequence[str], topics: Topics | None, sessions: Sessions | None) -> list[str]:
    """Those of the patterns that ask for more, in order."""
    return sorted(pattern for pattern in set(patterns) if not hears(pattern, topics, sessions))
