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
_NOBODY: frozenset[str] = frozenset()


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
        session, sidebar, task = _object(parts.session), _object(parts.sidebar), _object(parts.task)
        agent, exchange, memory = _object(parts.agent), _object(parts.exchange), _object(parts.memory)
        self.tags = frozenset(
            tag.casefold() for holder in (parts.tags, exchange.get("tags"), memory.get("tags"), task.get("tags"))
            for tag in _texts(holder)
        )  # fmt: skip
        spawned = [agent.get("agent_id")] if parts.type == "agent_spawned" else []
        self.members = frozenset(_texts([*_list(session.get("participants")), *spawned])) or _NOBODY
        named = sidebar.get("participants", parts.participants)
        self.participants = frozenset(_texts(named)) if isinstance(named, list) else None
        concerned = (
            self.members, self.participants or _NOBODY, _texts(parts.target_agents), _texts(parts.assigned_agents),
            _texts(exchange.get("mentions")), _texts([task.get("agent_name"), agent.get("agent_id"), self.target]),
        )  # fmt: skip
        self.agents = frozenset(name for names in concerned for name in names) or _NOBODY


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
    return [text for text in _list(value) if isinstance(text, str) and text]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
