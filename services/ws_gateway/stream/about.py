"""What an event is about: who sent it, where, whom it concerns, its tags and words. Read only when somebody asks."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

# Words are looked for in this much of an event's text.
TEXT_CHARACTERS = 64 * 1024
WORD = re.compile(r"\w+")
# Members of the envelope, which are no text of anybody's.
_ENVELOPE = frozenset(
    {
        "type", "message_id", "timestamp", "sender_agent_id", "session_id", "sidebar_id", "priority", "correlation_id",
        "session_seq", "hops", "trust", "traceparent", "cursor", "since",
    }
)  # fmt: skip
_NONE: frozenset[str] = frozenset()


class _Parts(msgspec.Struct, gc=False):
    """The members of any event that say what it is about. Other programs' events may hold anything there."""

    type: Any = None
    sender_agent_id: Any = None
    session_id: Any = None
    sidebar_id: Any = None
    agent_id: Any = None
    tags: Any = None
    participants: Any = None
    target_agents: Any = None
    assigned_agents: Any = None
    session: Any = None
    sidebar: Any = None
    task: Any = None
    agent: Any = None
    exchange: Any = None
    memory: Any = None


_PARTS = msgspec.json.Decoder(_Parts)


class About:
    """What an event is about.

    `agents` are those it concerns by name: participants, who was mentioned, whose task it is. Of these `members` take
    part in its session, and `participants` in its sidebar (None: it names none).
    """

    __slots__ = ("agents", "members", "participants", "sender", "session_id", "sidebar_id", "tags", "target")

    def __init__(self, payload: bytes) -> None:
        parts = _read(payload)
        self.sender = _text(parts.sender_agent_id)
        self.session_id = _text(parts.session_id)
        self.sidebar_id = _text(parts.sidebar_id)
        self.target = _text(parts.agent_id)
        self.members, self.tags, self.participants = _NONE, _NONE, None
        agents = {self.target} if self.target else set()
        # Most events have few of these.
        if isinstance(parts.session, dict):
            self.members = frozenset(_texts(parts.session.get("participants")))
        if isinstance(parts.agent, dict):
            spawned = _texts([parts.agent.get("agent_id")])
            agents.update(spawned)
            if parts.type == "agent_spawned":
                self.members = self.members.union(spawned)
        if isinstance(parts.task, dict):
            agents.update(_texts([parts.task.get("agent_name")]))
        if isinstance(parts.exchange, dict):
            agents.update(_texts(parts.exchange.get("mentions")))
        named = parts.sidebar.get("participants") if isinstance(parts.sidebar, dict) else parts.participants
        if isinstance(named, list):
            self.participants = frozenset(_texts(named))
            agents |= self.participants
        for names in (parts.target_agents, parts.assigned_agents):
            if names is not None:
                agents.update(_texts(names))
        agents |= self.members
        self.agents = frozenset(agents) if agents else _NONE
        tagged = (parts.tags, _member(parts.exchange, "tags"), _member(parts.memory, "tags"))
        if any(tagged):
            self.tags = frozenset(tag.casefold() for tags in tagged for tag in _texts(tags))


class Words:
    """The words of an event's text in lower case: each by itself, and one after the other between spaces."""

    __slots__ = ("each", "text")

    def __init__(self, words: list[str]) -> None:
        self.each = frozenset(words)
        self.text = f" {' '.join(words)} "


def words_of(payload: bytes) -> Words:
    """The words of an event's text: of all its strings but the envelope's, their first `TEXT_CHARACTERS`."""
    try:
        event = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, RecursionError):
        return Words([])
    left = TEXT_CHARACTERS
    texts: list[str] = []
    for text in _walk(value for name, value in event.items() if name not in _ENVELOPE):
        texts.append(text[:left])
        left -= len(text)
        if left <= 0:
            break
    return Words(WORD.findall(" ".join(texts).casefold()))


def _read(payload: bytes) -> _Parts:
    try:
        return _PARTS.decode(payload)
    except (msgspec.MsgspecError, RecursionError):
        # Nested deeper than anything that came in by our doors.
        return _Parts()


def _walk(values: Iterable[Any]) -> Iterator[str]:
    # Without recursion: documents may be nested as deep as the doors let them be.
    waiting = [iter(values)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, str):
                yield value
            elif isinstance(value, dict):
                waiting.append(iter(value.values()))
                break
            elif isinstance(value, list):
                waiting.append(iter(value))
                break
        else:
            waiting.pop()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str) and text] if isinstance(value, list) else []


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
