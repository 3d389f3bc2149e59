"""The session worker's tables: verified webhooks, the event stream's copy, and dead letters."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from shared.database.tables.columns import MOMENT, metadata, moment

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
    moment("received"),
    Index("deliveries_by_delivery", "delivery_id"),
    Index("deliveries_newest", text("received desc"), text("message_id desc")),
    Index("deliveries_newest_of_source", "source", text("received desc"), text("message_id desc")),
)

events = Table(
    "events",
    metadata,
    Column("cursor", BigInteger, primary_key=True),
    Column("timestamp", MOMENT, primary_key=True),
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
    moment("began"),
    Column("announced", Boolean, nullable=False, server_default=text("true")),
    moment("changed"),
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
    moment("created"),
    # When it is (or was last) due to be published again; null: nobody asked for it, or it is done.
    moment("redrive_due", default=False),
    moment("redriven", default=False),
    # What became of a command that was given up.
    Index("dead_letters_by_message", "message_id", postgresql_where=text("redriven is null")),
    Index("dead_letters_to_redrive", "redrive_due", postgresql_where=text("redrive_due is not null")),
)
