"""The task worker's tables: agents and their queues."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSON, JSONB

from shared.database.tables.columns import metadata, moment

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
    moment("last_heartbeat", default=False),
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
    moment("lease_expires", default=False),
    moment("created"),
    moment("started", default=False),
    moment("completed", default=False),
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
