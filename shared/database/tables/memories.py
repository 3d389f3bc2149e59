"""The memory worker's tables: `memories` holds the version in force, `memory_versions` those it replaced."""

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, Text, text
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
    Index("memories_search", "search", postgresql_using="gin"),
    Index("memories_tags", "tags", postgresql_using="gin"),
    Index("memories_by_session", "session_id", text("updated desc"), text("key desc")),
    Index("memories_newest", text("updated desc"), text("session_id desc"), text("key desc")),
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
)
