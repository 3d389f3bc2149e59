"""Callbacks: POSTs owed to whoever asked for them, and what became of each attempt."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text

from shared.database.tables.columns import MOMENT, NOW, metadata, moment

# Written by every worker's runtime (shared/bus) in the transaction of the command that owes the POST; the rest is the
# task worker's affair, which sends them.
callbacks = Table(
    "callbacks",
    metadata,
    # The `webhook-id` of every attempt.
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("url", Text, nullable=False),
    # What is POSTed; null once there is nothing left to send.
    Column("body", Text, nullable=True),
    Column("message_id", Text, nullable=False),
    Column("task_id", Text, nullable=True),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # When it is due; while it is being sent, when another sender may take it over.
    Column("next_attempt", MOMENT, nullable=True, server_default=NOW),
    moment("created"),
    moment("finished", default=False),
    CheckConstraint("status in ('pending', 'delivered', 'refused', 'gone', 'failed')", name="callbacks_status"),
    # The sender's queue: it holds what is owed, however many were delivered.
    Index("callbacks_due", "next_attempt", postgresql_where=text("status = 'pending'")),
    # The deletion of old ones.
    Index("callbacks_finished", "finished", postgresql_where=text("finished is not null")),
    # list_callbacks: all, of a status, of a command, of a task.
    Index("callbacks_newest", text("created desc"), text("id desc")),
    Index("callbacks_by_status", "status", text("created desc"), text("id desc")),
    Index("callbacks_by_message", "message_id", text("created desc"), text("id desc")),
    Index(
        "callbacks_by_task",
        "task_id",
        text("created desc"),
        text("id desc"),
        postgresql_where=text("task_id is not null"),
    ),
    postgresql_with={"fillfactor": "80"},
)

callback_attempts = Table(
    "callback_attempts",
    metadata,
    Column("callback_id", Text, ForeignKey("callbacks.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    moment("started"),
    # The HTTP status, or what went wrong; neither: it is under way, or its sender died in the middle.
    Column("status", Integer, nullable=True),
    Column("error", Text, nullable=True),
    # The beginning of what a receiver answered that did not take it.
    Column("response", Text, nullable=True),
    Column("ms", Integer, nullable=True),
)
