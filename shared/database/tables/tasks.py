"""The task worker's tables: agents, their queues and what waits in them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

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
    # As it was written.
    Column("metadata", JSON, nullable=False),
)

# A queue for each set of capabilities that tasks of an agent ask for: a claim looks at the heads of those it can serve.
task_queues = Table(
    "task_queues",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("agent_name", Text, nullable=False),
    # Sorted, each once.
    Column("capabilities", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # delegate_task finds a queue by it, claim_task those of an agent.
    UniqueConstraint("agent_name", "capabilities", name="task_queues_once"),
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
    # Its row of task_queues.
    Column("queue", Integer, nullable=False),
    # Whether it can be claimed now: pending, and waiting for nothing else.
    Column("claimable", Boolean, nullable=False, server_default=text("false")),
    # Its place among the tasks of its queue and priority, so that sessions take turns.
    Column("turn", BigInteger, nullable=False, server_default=text("0")),
    # Since when it could be claimed first; its priority ages from then on.
    moment("queued"),
    # When it stops waiting for a moment: run_at, the end of a backoff, a schedule's next time.
    moment("due", default=False),
    moment("run_at", default=False),
    Column("timeout_s", Float(53), nullable=True),
    # When the attempt in hand takes too long; the lease never lasts beyond it.
    moment("deadline", default=False),
    Column("depends_on", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("capabilities", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("cron", Text, nullable=True),
    Column("schedule_id", Text, nullable=True),
    Column("idempotency_key", Text, nullable=True),
    # What was asked for under the idempotency key.
    Column("fingerprint", LargeBinary, nullable=True),
    Column("callback_url", Text, nullable=True),
    CheckConstraint("priority between 0 and 9", name="tasks_priority"),
    CheckConstraint(
        "status in ('pending', 'claimed', 'running', 'completed', 'failed', 'cancelled', 'dead')", name="tasks_status"
    ),
    CheckConstraint("not claimable or status = 'pending'", name="tasks_claimable"),
    # A claim reads only the heads of its queues, however many tasks wait.
    Index("tasks_queue", "queue", "priority", "turn", "queued", postgresql_where=text("claimable")),
    # The last turn of a session, which the next one comes after; and the heads for claims within one session.
    Index("tasks_turns", "queue", "priority", "session_id", "turn", "queued", postgresql_where=text("claimable")),
    # What an agent has in hand, and the lease that lapses first.
    Index("tasks_in_hand", "agent_name", "lease_expires", postgresql_where=text("lease_expires is not null")),
    # The moment that comes first, for the timer.
    Index("tasks_due", "due", postgresql_where=text("due is not null")),
    # An idempotency key stands for one task.
    Index(
        "tasks_once",
        "session_id",
        "agent_name",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key is not null"),
    ),
    Index("tasks_by_session", "session_id", text("created desc")),
    Index("tasks_newest", text("created desc"), text("id desc")),
    postgresql_with={"fillfactor": "80"},
)

# What a task still waits for: one row for each task it depends on that has not completed.
task_dependencies = Table(
    "task_dependencies",
    metadata,
    # Whoever ends a task finds what waits for it.
    Column("depends_on", Text, primary_key=True),
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    # Whether a task waits for anything else.
    Index("task_dependencies_by_task", "task_id"),
)
