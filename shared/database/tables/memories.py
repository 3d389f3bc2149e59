"""The memory worker's tables: `memories` holds the version in force, `memory_versions` those it replaced.

The vectors of `memory_embeddings` need pgvector, and a dimension that only the model knows: the worker makes that table
when it has both (services/memory_worker/store/vectors.py), and no migration looks at it.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from shared.database.tables.columns import MOMENT, SEARCH_JSON, metadata, moment, search

memories = Table(
    "memories",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("content", JSON, nullable=False),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("author", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    moment("created"),
    moment("updated"),
    search(SEARCH_JSON),
    # What the content says, whatever its case, spaces and quotes, in 64 bits; null where there is nothing to recognise.
    Column("content_hash", BigInteger),
    # The last version an event told of, while later ones wait for theirs; null: all are told of.
    Column("told_version", Integer),
    # When an event last told of it; null: when its version in force was made.
    moment("told_at", default=False),
    # What the waiting event will be stamped with: sender, cause, hops, trust, priority, trace.
    Column("cause", JSON),
    # When, by whom, in which message and why the content was erased.
    Column("forgotten", JSON),
    Index("memories_search", "search", postgresql_using="gin"),
    Index("memories_tags", "tags", postgresql_using="gin"),
    Index("memories_by_session", "session_id", text("updated desc"), text("key desc")),
    Index("memories_newest", text("updated desc"), text("session_id desc"), text("key desc")),
    Index("memories_by_type", "type", text("updated desc"), text("session_id desc"), text("key desc")),
    # The memories of a session that say the same: the hash is of the session, too.
    Index("memories_by_content", "content_hash", postgresql_where=text("content_hash is not null")),
    # The memories whose next event is due.
    Index("memories_to_tell", "told_at", postgresql_where=text("told_version is not null")),
)

memory_versions = Table(
    "memory_versions",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("type", Text, nullable=False),
    Column("content", JSON, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("author", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("created", MOMENT, nullable=False),
    Column("updated", MOMENT, nullable=False),
    Column("replaced", MOMENT, nullable=False),
    Column("forgotten", JSON),
    search(SEARCH_JSON),
    # What was in force at a moment, by its words and by its time.
    Index("memory_versions_search", "search", postgresql_using="gin"),
    Index("memory_versions_newest", text("updated desc"), text("session_id desc"), text("key desc")),
)
