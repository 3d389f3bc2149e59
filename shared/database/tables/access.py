"""The session worker's tables of API keys and of the audit log."""

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from shared.database.tables.columns import MOMENT, NOW, metadata, moment

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("sessions", ARRAY(Text), nullable=True),
    Column("topics", ARRAY(Text), nullable=True),
    Column("rate_per_minute", Integer, nullable=True),
    moment("created"),
    moment("revoked", default=False),
)

# One row for each write, by the worker runtime (shared/bus) in the command's own transaction; pruned by the session
# worker. No reference to sessions and no check of the outcome: it is written thousands of times a second.
audit = Table(
    "audit",
    metadata,
    # Pages go by both: the rows of a batch have one moment. First, so that list_audit has spans of time by the key too.
    Column("at", MOMENT, primary_key=True, server_default=NOW),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("session_id", Text, nullable=True),
    Column("target", Text, nullable=True),
    Column("outcome", Text, nullable=False),
    # list_audit of one key, of one command, of one session.
    Index("audit_of_key", "key", "at", "id"),
    Index("audit_of_command", "command", "at", "id"),
    Index("audit_of_session", "session_id", "at", "id", postgresql_where=text("session_id is not null")),
)
