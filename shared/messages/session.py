"""Sessions and their conversation: commands, nouns and events."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Label, Model, Scope, Text
from shared.messages.json_text import JsonText
from shared.messages.registry import command

SessionStatus = Literal["active", "paused", "completed", "failed", "archived"]
ChunkFormat = Annotated[str, Field(min_length=1, max_length=50)]
Limit = Annotated[int, Field(ge=1, le=500)]
# Holds a row's sort key: two ids of 255 characters take 2,800 characters of it.
Cursor = Annotated[str, Field(min_length=1, max_length=4_000)]


class Session(Model):
    """An agent session: what agents and people do together under one id."""

    session_id: str
    title: str | None
    user_id: str | None
    participants: list[str]
    status: SessionStatus
    initial: JsonText | None
    created: str
    last_activity: str
    conversation_chunk_count: int
    memory_count: int
    task_count: int
    artifact_count: int
    action_count: int
    response_count: int
    seq: int


class Chunk(Model):
    """A piece of conversation text, with the items found in it."""

    session_id: str
    chunk_id: str
    content: str
    format: str
    extracted_items: JsonText
    metadata: JsonText
    created: str


@command(
    "session",
    result={"session": Session},
    creates=True,
    needs_session=False,
    example={"session_id": "demo", "title": "Checkout rewrite", "participants": ["ada", "claude_code"]},
)
class CreateSession(CommandData):
    """Open a session; an id is made when none is given.

    `fork_of` is another session, whose state is this one's `initial`: as it was after its event numbered `fork_seq`,
    or as it is.
    """

    session_id: Id | None = None
    title: Label | None = None
    participants: Annotated[list[Id], Field(max_length=1000)] = []
    user_id: Id | None = None
    initial: JsonText | None = None
    fork_of: Id | None = None
    fork_seq: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    @property
    def read_session_ids(self) -> Sequence[str]:
        """The session it is forked from."""
        return () if self.fork_of is None else (self.fork_of,)

    @property
    def further_scope(self) -> Scope | None:
        """Who takes over another session's state must be one who may read it."""
        return None if self.fork_of is None else "read"


@command("session", result={"session": Session}, reads=True, example={"session_id": "demo"})
class GetSession(CommandData):
    """One session with its status and counts."""

    session_id: Id


@command(
    "session",
    result={"sessions": list[Session], "next": str | None},
    reads=True,
    example={"status": "active", "limit": 20},
)
class ListSessions(CommandData):
    """Sessions, the most recently active first."""

    status: SessionStatus | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command(
    "session",
    result={"session": Session},
    needs_session=False,
    idempotent=True,
    example={"session_id": "demo", "reason": "waiting for the review"},
)
class PauseSession(CommandData):
    """Pause an active session; pausing a paused one changes nothing."""

    session_id: Id
    reason: Label | None = None


@command(
    "session",
    result={"session": Session},
    needs_session=False,
    idempotent=True,
    example={"session_id": "demo", "reason": "the review is in"},
)
class ResumeSession(CommandData):
    """Resume a paused session; resuming an active one changes nothing."""

    session_id: Id
    reason: Label | None = None


@command(
    "session",
    result={"session": Session},
    needs_session=False,
    example={"session_id": "demo", "summary": "The checkout uses the new API."},
)
class CompleteSession(CommandData):
    """Close an active session as done; nothing can be written to it afterwards."""

    session_id: Id
    summary: Text | None = None


@command(
    "session",
    result={"session": Session},
    needs_session=False,
    example={"session_id": "demo", "reason": "the customer withdrew the order"},
)
class FailSession(CommandData):
    """Close an active session as failed; nothing can be written to it afterwards."""

    session_id: Id
    reason: Label | None = None


@command("session", result={"session": Session}, needs_session=False, example={"session_id": "demo"})
class ArchiveSession(CommandData):
    """Put a completed or failed session away; it can be read as before, and never comes back to life."""

    session_id: Id


@command(
    "session",
    result={"chunk": Chunk},
    creates=True,
    example={
        "session_id": "demo",
        "content": "ada: Should we keep the old endpoint?\nclaude_code: Decision: we keep it until March.",
        "format": "dialogue",
    },
)
class ConversationChunk(CommandData):
    """Keep a piece of conversation text; ideas, decisions, questions and action items in it are listed."""

    session_id: Id
    chunk_id: Id | None = None
    content: Text
    format: ChunkFormat = "dialogue"
    metadata: JsonText | None = None


@command("session", result={"message_id": str}, public=False, needs_session=False)
class RecordInsight(CommandData):
    """Publish an LLM's insight about a conversation as an event of its own type."""

    session_id: Id | None = None
    insight: JsonText


class SessionEvent(Event):
    """The base of what happens to a session as a whole."""

    session: Session


class SessionCreated(SessionEvent):
    """A session was opened."""

    topic: ClassVar = "session.{session_id}.created"
    type: Literal["session_created"] = "session_created"


class SessionPaused(SessionEvent):
    """A session was paused."""

    topic: ClassVar = "session.{session_id}.paused"
    type: Literal["session_paused"] = "session_paused"
    reason: str | None = None


class SessionResumed(SessionEvent):
    """A paused session goes on."""

    topic: ClassVar = "session.{session_id}.resumed"
    type: Literal["session_resumed"] = "session_resumed"
    reason: str | None = None


class SessionCompleted(SessionEvent):
    """A session was closed as done."""

    topic: ClassVar = "session.{session_id}.completed"
    type: Literal["session_completed"] = "session_completed"
    summary: str | None = None


class SessionFailed(SessionEvent):
    """A session was closed as failed."""

    topic: ClassVar = "session.{session_id}.failed"
    type: Literal["session_failed"] = "session_failed"
    reason: str | None = None


class SessionArchived(SessionEvent):
    """A closed session was put away."""

    topic: ClassVar = "session.{session_id}.archived"
    type: Literal["session_archived"] = "session_archived"


class ConversationChunkAdded(Event):
    """A piece of conversation text was kept."""

    topic: ClassVar = "session.{session_id}.chunk"
    type: Literal["conversation_chunk_added"] = "conversation_chunk_added"
    chunk: Chunk


class LlmConversationInsight(Event):
    """An LLM's insight, as it was sent."""

    topic: ClassVar = "session.{session_id}.insight"
    type: Literal["llm_conversation_insight"] = "llm_conversation_insight"
    insight: JsonText
