"""SQL of sessions that come and go: their records as they are kept.

Memories and tasks are the memory and task workers', and only read here.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import LiteralString

from psycopg.types.json import Json

from shared.database import Transaction, psycopg_of
from shared.database.records import RecordTable, columns_of
from shared.messages import encode
from shared.messages.transfer import (
    ActionRecord,
    AgentRecord,
    ArtifactRecord,
    ChunkRecord,
    GoalRecord,
    MemoryVersionRecord,
    RecordKind,
    ResponseRecord,
    SessionRecord,
    StateRecord,
    TaskRecord,
    TransitionRecord,
)

# The version in force, and those it replaced. By the primary keys of both.
_MEMORIES = """(
    select session_id, key, version, type, content, tags, author, message_id, created, updated,
        cast(null as timestamptz) as replaced, forgotten
    from memories
    union all
    select session_id, key, version, type, content, tags, author, message_id, created, updated, replaced, forgotten
    from memory_versions
)"""
_TASKS = """(
    select id as task_id, tasks.* from tasks
)"""
# A callback's URL may hold a secret.
_TASKS_WITHOUT_CALLBACKS = f"""(
    select id as task_id, session_id,
        {", ".join(name for name in columns_of(TaskRecord) if name not in ("task_id", "session_id", "callback_url"))},
        cast(null as text) as callback_url
    from tasks
)"""  # noqa: S608

# By the primary key of each, or by actions_by_number, responses_by_number, conversation_chunks_by_session,
# session_transitions_by_session, tasks_by_session.
TABLES: Mapping[RecordKind, RecordTable] = {
    # One message moves a session at most once.
    "transition": RecordTable(
        "session_transitions", TransitionRecord, ("message_id", "to_status"), {"id": int}, keyed=False
    ),
    "state": RecordTable("session_states", StateRecord, ()),
    "goal": RecordTable("session_goals", GoalRecord, ("goal_id",), {"created": datetime, "goal_id": str}),
    "agent": RecordTable("session_agents", AgentRecord, ("agent_id",), {"created": datetime, "agent_id": str}),
    "action": RecordTable("actions", ActionRecord, ("action_id",), {"number": int}),
    "response": RecordTable("responses", ResponseRecord, ("response_id",), {"number": int}),
    "chunk": RecordTable("conversation_chunks", ChunkRecord, ("chunk_id",), {"created": datetime, "chunk_id": str}),
    "artifact": RecordTable("artifacts", ArtifactRecord, ("artifact_id",), {"artifact_id": str}),
    "memory": RecordTable(_MEMORIES, MemoryVersionRecord, ("key", "version"), {"key": str, "version": int}),
    "task": RecordTable(_TASKS, TaskRecord, ("task_id",), {"created": datetime, "task_id": str}),
}

# What whoever may read may have of tasks.
TASKS_WITHOUT_CALLBACKS = replace(TABLES["task"], table=_TASKS_WITHOUT_CALLBACKS)

# A session as it was; nothing when the id is taken. By the primary key.
_INSERT: LiteralString = """
    insert into sessions (
        id, title, user_id, participants, status, initial, created, last_activity, conversation_chunk_count,
        memory_count, task_count, artifact_count, action_count, response_count, seq
    )
    select %(id)s, title, user_id, participants, status, initial, created, last_activity, conversation_chunk_count,
        memory_count, task_count, artifact_count, action_count, response_count, seq
    from json_to_record(%(session)s) as session (
        title text, user_id text, participants jsonb, status text, initial json, created timestamptz,
        last_activity timestamptz, conversation_chunk_count int, memory_count int, task_count int, artifact_count int,
        action_count int, response_count int, seq bigint
    )
    on conflict (id) do nothing
"""

# Status and counters back to what they were, unless something has happened since; by the primary key.
_RESTORE: LiteralString = """
    update sessions set
        status = given.status, last_activity = given.last_activity,
        conversation_chunk_count = given.conversation_chunk_count, memory_count = given.memory_count,
        task_count = given.task_count, artifact_count = given.artifact_count, action_count = given.action_count,
        response_count = given.response_count, seq = given.seq
    from json_to_record(%(session)s) as given (
        status text, last_activity timestamptz, conversation_chunk_count int, memory_count int, task_count int,
        artifact_count int, action_count int, response_count int, seq bigint
    )
    where id = %(id)s and sessions.seq <= given.seq
"""


async def insert_session(tx: Transaction, session_id: str, record: SessionRecord) -> bool:
    """Write a session as it was; False when the id is taken."""
    values = {"id": session_id, "session": Json(record, dumps=encode)}
    return (await (await psycopg_of(tx)).execute(_INSERT, values)).rowcount == 1


async def restore_session(tx: Transaction, session_id: str, record: SessionRecord) -> None:
    """Set a session's status and counters back, unless it has counted more events than its record has."""
    values = {"id": session_id, "session": Json(record, dumps=encode)}
    await (await psycopg_of(tx)).execute(_RESTORE, values)
