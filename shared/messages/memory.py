"""Memories: commands, the noun and its event."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.messages.envelope import PATTERNS, CommandData, Event, Id, Model
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
    created: str
    updated: str


class FoundMemory(Memory):
    """A memory a query found; with `text`, how well it fits and where."""

    rank: float | None = None
    highlight: str | None = None


@command("memory", result={"memory": Memory}, creates=True)
class StoreMemory(CommandData):
    """Keep a piece of knowledge; an existing key gets a new version, and a key is made when none is given."""

    session_id: Id
    type: MemoryType
    key: Id | None = None
    content: JsonText
    tags: Tags = []
    if_version: Annotated[int, Field(ge=0, lt=2**31)] | None = None


@command("memory", result={"memory": Memory}, reads=True)
class RetrieveMemory(CommandData):
    """One memory by its key, now or as it was at a moment."""

    session_id: Id
    key: Id
    as_of: Moment | None = None


@command("memory", result={"memories": list[FoundMemory], "next": str | None}, reads=True)
class QueryMemories(CommandData):
    """Memories by session, type, tags and full text; with text the best first, else the newest."""

    session_id: Id | None = None
    type: MemoryType | None = None
    tags: Tags | None = None
    text: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    as_of: Moment | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class MemoryUpdate(Event):
    """A memory was stored or got a new version."""

    topic: ClassVar = "memory.{session_id}.updated"
    type: Literal["memory_update"] = "memory_update"
    context_id: str
    exchange: Memory
