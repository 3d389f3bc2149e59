"""The session worker's tables of what agents did in a session and what they aim at: actions, responses, state."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSON

from shared.database.tables.columns import metadata, moment


def _session() -> Column[str]:
    return Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)


# Actions and responses of a session are numbered together, under the session's lock: the next number is one more than
# the last of both tables, found by `actions_by_number` and `responses_by_number`, which also serve their pages.
actions = Table(
    "actions",
    metadata,
    _session(),
    Column("action_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("details", JSON, nullable=False),
    moment("timestamp"),
    Column("agent_id", Text, nullable=True),
    Column("author", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    moment("created"),
    Index("actions_by_number", "session_id", "number", unique=True),
    # Statistics: how many in a stretch of time, from the index alone.
    Index("actions_by_created", "created"),
)

responses = Table(
    "responses",
    metadata,
    _session(),
    Column("response_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    # Of an action of the session that may come later, or never.
    Column("action_id", Text, nullable=True),
    Column("type", Text, nullable=False),
    Column("content", JSON, nullable=False),
    Column("details", JSON, nullable=False),
    moment("timestamp"),
    Column("agent_id", Text, nullable=True),
    Column("author", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    moment("created"),
    Index("responses_by_number", "session_id", "number", unique=True),
)

# A session without a row has the state it was opened with, at version 0.
session_states = Table(
    "session_states",
    metadata,
    _session(),
    # What agents patched; null while that is nothing.
    Column("members", JSON, nullable=True),
    Column("version", Integer, nullable=False),
    # How many bytes the session's goals and spawned agents take in its state.
    Column("parts_size", Integer, nullable=False, server_default=text("0")),
    moment("updated"),
    # Every change rewrites the row; room in the page keeps that off the primary key.
    postgresql_with={"fillfactor": "70"},
)

session_goals = Table(
    "session_goals",
    metadata,
    _session(),
    Column("goal_id", Text, primary_key=True),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("metadata", JSON, nullable=False),
    moment("created"),
    moment("updated"),
    CheckConstraint(
        "status in ('pending', 'in_progress', 'completed', 'blocked', 'abandoned')", name="session_goals_status"
    ),
    CheckConstraint("priority in ('low', 'medium', 'high', 'critical')", name="session_goals_priority"),
)

session_agents = Table(
    "session_agents",
    metadata,
    _session(),
    Column("agent_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("description", Text, nullable=True),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("metadata", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    Column("spawned_by", Text, nullable=False),
    moment("created"),
    moment("completed", default=False),
    CheckConstraint("status in ('active', 'completed', 'failed')", name="session_agents_status"),
    # The sessions an agent is at work in.
    Index("session_agents_by_agent", "agent_id", postgresql_where=text("status = 'active'")),
)
