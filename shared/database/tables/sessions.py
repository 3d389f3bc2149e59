"""The session worker's tables: sessions and their parts."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Identity, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSON, JSONB

from shared.database.tables.columns import SEARCH_TEXT, count, metadata, moment, search

# The counters, `seq` and `last_activity` are also written by the worker runtime of every worker.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=True),
    Column("user_id", Text, nullable=True),
    Column("participants", JSONB, nullable=False, server_default=text("'[]'")),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("initial", JSON, nullable=True),
    moment("created"),
    moment("last_activity"),
    count("conversation_chunk_count"),
    count("memory_count"),
    count("task_count"),
    count("artifact_count"),
    count("action_count"),
    count("response_count"),
    Column("seq", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("status in ('active', 'paused', 'completed', 'failed', 'archived')", name="sessions_status"),
    Index("sessions_by_activity", text("last_activity desc"), text("id desc")),
    Index("sessions_by_status", "status", text("last_activity desc"), text("id desc")),
    # Statistics of a stretch of time, from the index alone.
    Index("sessions_by_created", "created", postgresql_include=["status"]),
    # The open sessions that an agent takes part in.
    Index(
        "sessions_by_participant",
        "participants",
        postgresql_using="gin",
        postgresql_ops={"participants": "jsonb_path_ops"},
        postgresql_where=text("status in ('active', 'paused') and participants <> '[]'"),
    ),
    # Counters change with every batch; room in the page keeps those updates off the primary key.
    postgresql_with={"fillfactor": "60"},
)

session_transitions = Table(
    "session_transitions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("from_status", Text, nullable=True),
    Column("to_status", Text, nullable=False),
    Column("by_agent", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("message_id", Text, nullable=False),
    moment("at"),
    Index("session_transitions_by_session", "session_id", "id"),
    # When sessions ended, for their mean duration.
    Index(
        "session_transitions_ended",
        "session_id",
        postgresql_include=["at"],
        postgresql_where=text("to_status in ('completed', 'failed')"),
    ),
)

conversation_chunks = Table(
    "conversation_chunks",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("chunk_id", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("extracted_items", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("message_id", Text, nullable=False),
    moment("created"),
    search(SEARCH_TEXT),
    Index("conversation_chunks_search", "search", postgresql_using="gin"),
    Index("conversation_chunks_by_session", "session_id", "created"),
    # A search for a common word looks at the newest.
    Index("conversation_chunks_newest", text("created desc")),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("artifact_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("format", Text, nullable=True),
    Column("metadata", JSON, nullable=False),
    Column("author", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    moment("created"),
    search(SEARCH_TEXT),
    Index("artifacts_search", "search", postgresql_using="gin"),
    # A search for a common word looks at the newest.
    Index("artifacts_newest", text("created desc")),
)
