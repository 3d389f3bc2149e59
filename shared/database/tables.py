"""Every table, as the migrations must leave it; each is written by the worker named above it alone."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB, TSVECTOR

metadata = MetaData()

_NOW = text("now()")
_MOMENT = DateTime(timezone=True)
# A tsvector holds 1 MB, and PostgreSQL refuses a row whose words need more: rare words of 4-byte letters, joined by
# hyphens, take eight bytes a letter. So a text is searched in its first 100,000 letters; JSON by its strings as long as
# it is under 300,000 bytes, and beyond that in the first 75,000 letters of its text.
_SEARCH_TEXT = "to_tsvector('english'::regconfig, left(content, 100000))"
_SEARCH_JSON = (
    "case when octet_length(content::text) <= 300000 then to_tsvector('english'::regconfig, content)"
    " else to_tsvector('english'::regconfig, left(content::text, 75000)) end"
)


def _moment(name: str, *, default: bool = True) -> Column[object]:
    return Column(name, _MOMENT, nullable=not default, server_default=_NOW if default else None)


def _search(expression: str) -> Column[object]:
    return Column("search", TSVECTOR, Computed(expression, persisted=True))


def _count(name: str) -> Column[object]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


# The worker runtime (shared/bus), in the transaction of the command itself: the reply for a repetition, and the events
# until they are published. One table, since an id must be unique across days; rows go when `expires_at` has passed.
handled_messages = Table(
    "handled_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("command", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=True),
    Column("reply", Text, nullable=False),
    # [[routing key, event text], …] as JSON text; null once the broker has confirmed them.
    Column("events", Text, nullable=True),
    _moment("handled_at"),
    Column("expires_at", _MOMENT, nullable=False),
    Index("handled_messages_expiry", "expires_at"),
    postgresql_with={"fillfactor": "80", "autovacuum_vacuum_scale_factor": "0.05"},
)

# The session worker; the counters, `seq` and `last_activity` also by the worker runtime of every worker.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=True),
    Column("user_id", Text, nullable=True),
    Column("participants", JSONB, nullable=False, server_default=text("'[]'")),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("initial", JSON, nullable=True),
    _moment("created"),
    _moment("last_activity"),
    _count("conversation_chunk_count"),
    _count("memory_count"),
    _count("task_count"),
    _count("artifact_count"),
    Column("seq", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("status in ('active', 'paused', 'completed', 'failed', 'archived')", name="sessions_status"),
    Index("sessions_by_activity", text("last_activity desc"), text("id desc")),
    Index("sessions_by_status", "status", text("last_activity desc"), text("id desc")),
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
    _moment("at"),
    Index("session_transitions_by_session", "session_id", "id"),
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
    _moment("created"),
    _search(_SEARCH_TEXT),
    Index("conversation_chunks_search", "search", postgresql_using="gin"),
    Index("conversation_chunks_by_session", "session_id", "created"),
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
    _moment("created"),
    _search(_SEARCH_TEXT),
    Index("artifacts_search", "search", postgresql_using="gin"),
)

# The session worker: verified webhooks, once each, and the event stream's copy.
deliveries = Table(
    "deliveries",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("delivery_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("action", Text, nullable=True),
    Column("payload", JSON, nullable=False),
    _moment("received"),
    Index("deliveries_by_delivery", "delivery_id"),
    Index("deliveries_newest", text("received desc"), text("message_id desc")),
    Index("deliveries_newest_of_source", "source", text("received desc"), text("message_id desc")),
)

events = Table(
    "events",
    metadata,
    Column("cursor", BigInteger, primary_key=True),
    Column("timestamp", _MOMENT, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("session_id", Text, nullable=True),
    Column("session_seq", BigInteger, nullable=True),
    Column("body", JSON, nullable=False),
    # A copy of an event has its timestamp too, so it falls into the same partition and is seen.
    Index("events_once", "message_id", "timestamp", unique=True),
    Index("events_by_session", "session_id", "session_seq", postgresql_where=text("session_id is not null")),
    postgresql_partition_by="RANGE (timestamp)",
)

event_log = Table(
    "event_log",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("epoch", Text, nullable=False),
    # cursor = base + offset in the stream. The first is 1, so that 0 is before all; a new stream starts at offset 0
    # again, its cursors go on.
    Column("base", BigInteger, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    # Since when this epoch is, and whether its event was published.
    _moment("began"),
    Column("announced", Boolean, nullable=False, server_default=text("true")),
    _moment("changed"),
    CheckConstraint("singleton", name="event_log_one_row"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    # The id of the dead-lettered delivery, so that a crash between commit and ack records it once.
    Column("letter_key", Text, nullable=False, unique=True),
    Column("message_id", Text, nullable=True),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("headers", JSONB, nullable=False, server_default=text("'{}'")),
    Column("body", LargeBinary, nullable=False),
    Column("content_encoding", Text, nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _moment("created"),
    # When it is (or was last) due to be published again; null: nobody asked for it, or it is done.
    _moment("redrive_due", default=False),
    _moment("redriven", default=False),
    # What became of a command that was given up.
    Index("dead_letters_by_message", "message_id", postgresql_where=text("redriven is null")),
    Index("dead_letters_to_redrive", "redrive_due", postgresql_where=text("redrive_due is not null")),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("sessions", ARRAY(Text), nullable=True),
    Column("topics", ARRAY(Text), nullable=True),
    Column("rate_per_minute", Integer, nullable=True),
    _moment("created"),
    _moment("revoked", default=False),
)

# The memory worker: `memories` holds the version in force, `memory_versions` those it replaced.
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
    _moment("created"),
    _moment("updated"),
    _search(_SEARCH_JSON),
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
    Column("created", _MOMENT, nullable=False),
    Column("updated", _MOMENT, nullable=False),
    Column("replaced", _MOMENT, nullable=False),
)

# The task worker.
agents = Table(
    "agents",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("capabilities", JSONB, nullable=False, server_default=text("'[]'")),
    # How many of its tasks may be held at once; 0 is no limit.
    Column("max_concurrent", Integer, nullable=False, server_default=text("1")),
    Column("status", Text, nullable=False, server_default=text("'available'")),
    _moment("last_heartbeat", default=False),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("agent_name", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    Column("description", Text, nullable=True),
    Column("priority", Integer, nullable=False, server_default=text("5")),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("input_data", JSON, nullable=True),
    Column("output_data", JSON, nullable=True),
    Column("error_message", Text, nullable=True),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False, server_default=text("3")),
    Column("claimed_by", Text, nullable=True),
    Column("lease_token", Text, nullable=True),
    _moment("lease_expires", default=False),
    _moment("created"),
    _moment("started", default=False),
    _moment("completed", default=False),
    CheckConstraint("priority between 0 and 9", name="tasks_priority"),
    CheckConstraint(
        "status in ('pending', 'claimed', 'running', 'completed', 'failed', 'cancelled', 'dead')", name="tasks_status"
    ),
    # The queue: a claim reads only its head, however many tasks wait.
    Index("tasks_queue", "agent_name", text("priority desc"), "created", postgresql_where=text("status = 'pending'")),
    Index("tasks_leases", "lease_expires", postgresql_where=text("status in ('claimed', 'running')")),
    Index("tasks_by_session", "session_id", text("created desc")),
    Index("tasks_newest", text("created desc"), text("id desc")),
    postgresql_with={"fillfactor": "80"},
)
