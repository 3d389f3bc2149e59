"""The session worker's tables of the live layer: what waits for agents, and which connections and tokens are spent."""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Identity, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from shared.database.tables.columns import MOMENT, metadata, moment

# One row for each agent that was mentioned, until the mention has reached it; at most a thousand of one agent, and a
# week. No reference to sessions and sidebars: a mention says where it was made, and needs nothing of it.
mentions = Table(
    "mentions",
    metadata,
    # The message id of its event.
    Column("mention_id", Text, primary_key=True),
    # The order in which they were made: those of one transaction have one moment.
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("target_agents", ARRAY(Text), nullable=False),
    Column("context_refs", ARRAY(Text), nullable=False),
    Column("session_id", Text, nullable=True),
    Column("sidebar_id", Text, nullable=True),
    Column("priority", Text, nullable=False),
    Column("hops", Integer, nullable=False),
    Column("trust", Text, nullable=False),
    moment("created"),
    # list_mentions, and the oldest of an agent that has too many.
    Index("mentions_of_agent", "agent_id", "number"),
    # Those past their week.
    Index("mentions_by_age", "created"),
)

# What others were told last of each agent that is there by it, as recorded: a gateway that comes up alone learns from
# it whom it has to tell offline. A row for each agent that is connected; written with the events, by the recorder.
presences = Table(
    "presences",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),
)

# Connections that were resumed by another: each can be once. Kept as long as a resume token may be about.
resumed_connections = Table(
    "resumed_connections",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("resumed_as", Text, nullable=False),
    moment("at"),
    Index("resumed_connections_by_age", "at"),
)

# WebSocket tokens out of force, one by its id or all that were made for an agent so far; kept as long as one of them
# may be valid. A small table, read whole by the doors.
revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("made_until", MOMENT, nullable=False),
    Column("revoked_by", Text, nullable=False),
    Column("reason", Text, nullable=True),
    CheckConstraint("kind in ('token', 'agent')", name="revoked_tokens_kind_check"),
)
