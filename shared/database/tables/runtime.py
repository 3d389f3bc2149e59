"""The tables of the worker runtime (`shared/bus`), which every worker writes."""

from sqlalchemy import Column, Index, LargeBinary, Table, Text

from shared.database.tables.columns import MOMENT, metadata, moment

# The worker runtime (shared/bus), in the transaction of the command itself: the reply for a repetition, and the events
# and follow-ups until they are published. One table, since an id must be unique across days; rows go when `expires_at`
# has passed.
handled_messages = Table(
    "handled_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("command", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=True),
    Column("reply", Text, nullable=False),
    # [[routing key, event, message id, traceparent], …] as JSON text, follow-ups with their exchange as a fifth; null
    # once the broker has confirmed them.
    Column("events", Text, nullable=True),
    moment("handled_at"),
    Column("expires_at", MOMENT, nullable=False),
    # The key it came by: one with a list of sessions may ask after its own commands only.
    Column("caller", Text, nullable=True),
    Index("handled_messages_expiry", "expires_at"),
    postgresql_with={"fillfactor": "80", "autovacuum_vacuum_scale_factor": "0.05"},
)

# Handled messages whose command was acknowledged before it was handled, for it had waited: their events come again from
# here. Written with the record, deleted when the events are confirmed: it holds what is under way, and is read whole,
# so it has no index for `at`. `at` moves on when somebody begins to tell what was left behind.
unconfirmed_messages = Table(
    "unconfirmed_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    moment("at"),
)
