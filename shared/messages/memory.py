"""Memories: commands, the noun and its event."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import PATTERNS, Event, Id, Label, Model
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

MemoryType = Literal["idea", "decision", "question", "action_item", "context", "preference", "fact", "risk"]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Tags = Annotated[list[Tag], Field(max_length=100)]
_MOMENT = r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$"
Moment = Annotated[str, StringConstraints(pattern=_MOMENT)]
PATTERNS[_MOMENT] = "be a moment with its offset, like 2026-01-31T12:00:00Z"


class Memory(Model):
    """A piece of knowledge of a session under a key, in one of its versions."""

    session_id: str
    key: str
    type: MemoryType
    content: JsonText
    tags: list[str]
    version: int
    author: str
    message_id: str
    # The version before this one; null for a first.
    replaces: int | None
    created: str
    updated: str


class FoundMemory(Memory):
    """A memory a query found; with `text`, how well it fits and where; with `meaning`, how near it is."""

    rank: float | None = None
    highlight: str | None = None


class Forgotten(Model):
    """The fact that a memory was forgotten: when, by whom, in which message and why."""

    at: str
    by: str
    message_id: str
    reason: str | None


class MemoryVersion(Memory):
    """One version of a memory: until when it was in force, and whether its content was erased since."""

    replaced: str | None
    forgotten: Forgotten | None


@command(
    "memory",
    result={"memory": Memory, "recalled": bool},
    creates=True,
    example={
        "session_id": "demo",
        "type": "decision",
        "key": "plan",
        "content": "We move the queue to PostgreSQL first",
        "tags": ["queue"],
    },
)
class StoreMemory(CommandData):
    """Keep a piece of knowledge; an existing key gets a new version, and a key is made when none is given.

    Without a key, text that the session remembers already is not stored again: `recalled` is then true.
    """

    session_id: Id
    type: MemoryType
    key: Id | None = None
    content: JsonText
    tags: Tags = []
    if_version: Annotated[int, Field(ge=0, lt=2**31)] | None = None


@command("memory", result={"memory": Memory}, reads=True, example={"session_id": "demo", "key": "plan"})
class RetrieveMemory(CommandData):
    """One memory by its key, now or as it was at a moment."""

    session_id: Id
    key: Id
    as_of: Moment | None = None


@command(
    "memory",
    result={"memories": list[FoundMemory], "next": str | None},
    reads=True,
    example={"session_id": "demo", "type": "decision", "text": "queue postgresql"},
)
class QueryMemories(CommandData):
    """Memories by session, type, tags, full text and meaning; with text or meaning the best first, else the newest.

    `meaning` finds what is alike in sense, where an embeddings endpoint is configured.
    """

    session_id: Id | None = None
    type: MemoryType | None = None
    tags: Tags | None = None
    text: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    meaning: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    as_of: Moment | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command(
    "memory",
    result={"versions": list[MemoryVersion], "next": str | None},
    reads=True,
    example={"session_id": "demo", "key": "plan"},
)
class MemoryHistory(CommandData):
    """Every version of a memory, the newest first: who said so, in which message, replacing what."""

    session_id: Id
    key: Id
    limit: Limit = 50
    cursor: Cursor | None = None


@command(
    "memory",
    result={"memory": MemoryVersion},
    # Closed sessions must be able to forget, too.
    needs_session=False,
    destructive=True,
    idempotent=True,
    example={"session_id": "demo", "key": "plan", "reason": "It named a customer"},
)
class ForgetMemory(CommandData):
    """Erase a memory's content in all its versions; that it was there, and who forgot it when and why, is kept."""

    session_id: Id
    key: Id
    reason: Label | None = None


class HotZone(Model):
    """A topic with how much happens there: each update counts 1 at first, and half as much after each half-life."""

    topic: str
    kind: Literal["tag", "type", "key"]
    heat: float
    updates: int
    agents: list[str]
    last: str


class Correlation(Model):
    """Two tags that stand on the same memories; `lift` is how much more often than chance would have it."""

    topics: list[str]
    heat: float
    updates: int
    lift: float


class BlindSpot(Model):
    """A topic others are busy with and the agent is not, though it goes with what the agent works on."""

    topic: str
    kind: Literal["tag", "type", "key"]
    heat: float
    related_to: list[str]
    why: str


class HeatMap(Model):
    """Where things happen, beside where one agent looks."""

    hours: int
    half_life_hours: float
    updates: int
    agent_id: str
    your_focus_areas: list[HotZone]
    hot_zones: list[HotZone]
    emerging_patterns: list[Correlation]
    potential_blindspots: list[BlindSpot]
    suggestion: str


@command(
    "memory",
    result={"heat_map": HeatMap},
    reads=True,
    example={"session_id": "demo", "agent_id": "claude", "hours": 24},
)
class GetHeatMap(CommandData):
    """Where memories change at the moment, which topics go together, and what an agent does not look at.

    `agent_id` is whose view it is, by default the asker's; `focus` are tags, types and keys it looks at, beside those
    it has written to.
    """

    session_id: Id | None = None
    agent_id: Id | None = None
    focus: Annotated[list[Id], Field(max_length=100)] = []
    hours: Annotated[int, Field(ge=1, le=720)] = 24


@command("memory", result={"told": int}, public=False, needs_session=False)
class TellMemoryUpdates(CommandData):
    """Tell of the memories that were updated again within 500 ms of their last event, once that time is over."""


class MemoryVector(Model):
    """The vector of one version of a memory."""

    session_id: Id
    key: Id
    version: int
    vector: list[float]


@command("memory", result={"kept": int, "stale": int}, public=False, needs_session=False)
class EmbedMemories(CommandData):
    """Keep vectors that an embeddings endpoint made; those of versions no longer in force are dropped."""

    model: Id
    vectors: Annotated[list[MemoryVector], Field(min_length=1, max_length=500)]


# Why an event carries no delta: it tells of a first version; what was told last has been forgotten; one of the two is
# too large to be compared; the delta would not be smaller than the content; or a number would lose digits in it.
DeltaOmitted = Literal["first", "forgotten", "too_large", "not_smaller", "inexact"]


class MemoryUpdate(Event):
    """A memory was stored or got new versions; rapid updates of one key are told of together, 500 ms apart."""

    topic: ClassVar = "memory.{session_id}.updated"
    type: Literal["memory_update"] = "memory_update"
    context_id: str
    exchange: Memory
    # How many updates this event stands for.
    count: int = 1
    # JSON Patch (RFC 6902) from the content told of last to this one; null with the reason in `delta_omitted`.
    delta: JsonText | None = None
    delta_omitted: DeltaOmitted | None = None


class MemoryForgotten(Event):
    """A memory's content was erased; what is left is the fact."""

    topic: ClassVar = "memory.{session_id}.forgotten"
    type: Literal["memory_forgotten"] = "memory_forgotten"
    memory: MemoryVersion
