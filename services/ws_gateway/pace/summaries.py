"""Summaries: events told by their number instead of one by one. Free of I/O."""

from collections import Counter

from services.ws_gateway.stream.frames import Frame, message

# Topics told by name, the busiest; and how many are told apart at all.
TOLD_TOPICS, KNOWN_TOPICS = 20, 200
KNOWN_TYPES = 100
OTHERS = "others"


class Summary:
    """Counts events by type and by topic, within a bounded memory."""

    __slots__ = ("_topics", "_types", "events", "first", "last")

    def __init__(self) -> None:
        self.events = 0
        # Cursors of the first and the last one.
        self.first: int | None = None
        self.last = -1
        self._types: Counter[str] = Counter()
        self._topics: Counter[str] = Counter()

    def add(self, frame: Frame) -> None:
        """Count an event."""
        self.events += 1
        self.first = frame.cursor if self.first is None else min(self.first, frame.cursor)
        self.last = max(self.last, frame.cursor)
        _count(self._types, frame.type, KNOWN_TYPES)
        _count(self._topics, frame.routing_key, KNOWN_TOPICS)

    def take(self) -> bytes:
        """The frame that tells of all events since the last one; empty when there were none."""
        if self.first is None:
            return b""
        others = self._topics.pop(OTHERS, 0)
        told = dict(self._topics.most_common(TOLD_TOPICS))
        if rest := others + self._topics.total() - sum(told.values()):
            told[OTHERS] = rest
        frame = message(
            "summary",
            **{"from": self.first, "to": self.last},
            events=self.events,
            by_type=dict(self._types.most_common()),
            by_topic=told,
        )
        self.events, self.first, self.last = 0, None, -1
        self._types, self._topics = Counter(), Counter()
        return frame


def _count(counter: Counter[str], name: str, known: int) -> None:
    counter[name if name in counter or len(counter) < known else OTHERS] += 1
