"""Moving whole sessions: the records of an export, and the commands that read and write them.

A record is a row as it is kept, without the session's id: so a session may come back under another one.
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.messages.actions import SentMoment
from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Model, Scope
from shared.messages.json_text import JsonText
from shared.messages.memory import MemoryType, Tags
from shared.messages.registry import command
from shared.messages.session import Cursor, Session, SessionStatus
from shared.messages.state import GoalPriority, GoalStatus
from shared.messages.task import Task

MAX_RECORDS = 500

# In the order in which an export lists them, and an import writes them.
RecordKind = Literal[
    "transition", "state", "goal", "agent", "action", "response", "chunk", "artifact", "memory", "task"
]
# Those that `import_records` writes; memories and tasks have commands of their own.
SessionRecordKind = Literal["transition", "state", "goal", "agent", "action", "response", "chunk", "artifact"]

Count = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[int, Field(ge=0, lt=2**63)]


class SessionRecord(Model):
    """A session itself."""

    title: str | None
    user_id: str | None
    participants: list[str]
    status: SessionStatus
    initial: JsonText | None
    created: SentMoment
    last_activity: SentMoment
    conversation_chunk_count: Count
    memory_count: Count
    task_count: Count
    artifact_count: Count
    action_count: Count
    response_count: Count
    seq: Number


class TransitionRecord(Model):
    """A move of the session from one status to another."""

    from_status: SessionStatus | None
    to_status: SessionStatus
    by_agent: str
    reason: str | None
    message_id: Id
    at: SentMoment


class StateRecord(Model):
    """The session's state, without its goals and agents; `members` null: nobody has patched it."""

    members: JsonText | None
    version: Count
    parts_size: Count
    updated: SentMoment


class GoalRecord(Model):
    """A goal of the session."""

    goal_id: Id
    description: str
    status: GoalStatus
    priority: GoalPriority
    metadata: JsonText
    created: SentMoment
    updated: SentMoment


class AgentRecord(Model):
    """An agent that was spawned in the session."""

    agent_id: Id
    type: str
    description: str | None
    status: Literal["active", "completed", "failed"]
    metadata: JsonText
    result: JsonText
    spawned_by: str
    created: SentMoment
    completed: SentMoment | None


class ActionRecord(Model):
    """An action."""

    action_id: Id
    number: Number
    type: str
    details: JsonText
    timestamp: SentMoment
    agent_id: str | None
    author: str
    message_id: str
    created: SentMoment


class ResponseRecord(Model):
    """A response."""

    response_id: Id
    number: Number
    action_id: str | None
    type: str
    content: JsonText
    details: JsonText
    timestamp: SentMoment
    agent_id: str | None
    author: str
    message_id: str
    created: SentMoment


class ChunkRecord(Model):
    """A piece of conversation."""

    chunk_id: Id
    content: str
    format: str
    extracted_items: JsonText
    metadata: JsonText
    message_id: str
    created: SentMoment


class ArtifactRecord(Model):
    """An artifact."""

    artifact_id: Id
    name: str
    type: str
    content: str
    format: str | None
    metadata: JsonText
    author: str
    message_id: str
    created: SentMoment


class MemoryRecord(Model):
    """A version of a memory."""

    key: Id
    version: Annotated[int, Field(ge=1, lt=2**31)]
    type: MemoryType
    content: JsonText
    tags: Tags
    author: str
    message_id: str
    created: SentMoment
    updated: SentMoment
    forgotten: JsonText | None


class MemoryVersionRecord(MemoryRecord):
    """A version of a memory, and when another one replaced it; null: it is in force."""

    replaced: SentMoment | None


class TaskRecord(Task):
    """A task; what is in hand has no lease elsewhere, and waits again there."""

    run_at: SentMoment | None
    due: SentMoment | None
    created: SentMoment
    started: SentMoment | None
    completed: SentMoment | None


@command(
    "session",
    result={"records": list[JsonText], "next": str | None},
    reads=True,
    example={"session_id": "demo", "kind": "action"},
)
class ExportRecords(CommandData):
    """Everything a session keeps, as it is kept, one kind at a time, the oldest first; `import_records` takes it.

    Tasks come without their `callback_url`, which may hold a secret, unless `callbacks` asks for it: that needs the
    scope `admin`.
    """

    session_id: Id
    kind: RecordKind
    callbacks: bool = False
    limit: Annotated[int, Field(ge=1, le=MAX_RECORDS)] = 100
    cursor: Cursor | None = None

    @property
    def further_scope(self) -> Scope | None:
        """Whole URLs are for admins."""
        return "admin" if self.callbacks else None


@command(
    "session",
    result={"session": Session, "created": bool},
    scope="admin",
    needs_session=False,
    idempotent=True,
    example={
        "session_id": "demo-copy",
        "session": {
            "title": "Checkout rewrite", "user_id": None, "participants": ["ada"], "status": "completed",
            "initial": None, "created": "2026-01-31T12:00:00.000000Z", "last_activity": "2026-01-31T13:00:00.000000Z",
            "conversation_chunk_count": 0, "memory_count": 0, "task_count": 0, "artifact_count": 0,
            "action_count": 0, "response_count": 0, "seq": 2,
        },
    },
)  # fmt: skip
class ImportSession(CommandData):
    """Write a session as it was, with its moments, status and counters; its parts follow by `import_records`.

    Sent again, it sets status and counters back to those given, as long as nothing has happened in the session since.
    """

    session_id: Id
    session: JsonText


@command(
    "session",
    result={"imported": int},
    scope="admin",
    needs_session=False,
    idempotent=True,
    example={"session_id": "demo-copy", "kind": "action", "records": []},
)
class ImportRecords(CommandData):
    """Write records of one kind, as `export_records` gives them, into a session, up to 500; those there are left alone.

    One that is there with other content is a conflict, and none is then written. Nothing is told of it as an event.
    """

    session_id: Id
    kind: SessionRecordKind
    records: JsonText


@command(
    "memory",
    result={"imported": int},
    scope="admin",
    needs_session=False,
    idempotent=True,
    example={"session_id": "demo-copy", "records": []},
)
class ImportMemories(CommandData):
    """Write versions of memories, as `export_records` gives them, into a session, up to 500; what is there is left.

    One that is there with other content is a conflict, and none is then written. Nothing is told of it as an event.
    """

    session_id: Id
    records: JsonText
