"""The session worker's tables of sidebars: side conversations, who takes part in them, and what is said there."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Identity, Index, Integer, Table, Text
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from shared.database.tables.columns import count, metadata, moment


def _sidebar() -> Column[str]:
    return Column("sidebar_id", Text, ForeignKey("sidebars.id", ondelete="CASCADE"), primary_key=True)


# A sidebar knows what its source knew when it was opened: `forked_from`, else `parent_id`, up to its exchange number
# `inherits_seq`. Nothing of that is copied; the chain of sources is followed when it is asked for.
sidebars = Table(
    "sidebars",
    metadata,
    Column("id", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", Text, ForeignKey("sidebars.id", ondelete="CASCADE"), nullable=True),
    # Its origin; never deleted but with the session.
    Column("forked_from", Text, nullable=True),
    Column("inherits_seq", Integer, nullable=False, server_default=sql("0")),
    # From how many sidebars above it it inherits: what the setting was when it was opened.
    Column("inherit_depth", Integer, nullable=False),
    # How many sidebars its chain of sources holds.
    Column("lineage", Integer, nullable=False, server_default=sql("0")),
    # The memories in force when it was opened under the session, each as [key, version].
    Column("memory_refs", JSON, nullable=False),
    Column("coordinator", Text, nullable=True),
    Column("requested_by", Text, nullable=False),
    Column("task_description", Text, nullable=False),
    Column("success_criteria", Text, nullable=True),
    Column("status", Text, nullable=False, server_default=sql("'active'")),
    Column("priority", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("data_refs", JSON, nullable=False),
    Column("waiting_for", Text, nullable=True),
    # The key of the memory it reviews.
    Column("review_of", Text, nullable=True),
    count("exchange_count"),
    # What its merge has brought up.
    Column("findings", JSON, nullable=True),
    Column("success", Boolean, nullable=True),
    moment("created"),
    moment("last_activity"),
    # When it became merged, archived or failed; null while it is open.
    moment("closed", default=False),
    CheckConstraint(
        "status in ('active', 'testing', 'paused', 'waiting', 'reviewing', 'spawning_child', 'consolidating', "
        "'merged', 'archived', 'failed')",
        name="sidebars_status",
    ),
    CheckConstraint(
        "(closed is not null) = (status in ('merged', 'archived', 'failed'))",
        name="sidebars_closed",
    ),
    # Lists, the most recently active first.
    Index("sidebars_by_activity", sql("last_activity desc"), sql("id desc")),
    Index("sidebars_by_session", "session_id", sql("last_activity desc"), sql("id desc")),
    Index("sidebars_by_status", "status", sql("last_activity desc"), sql("id desc")),
    # The children of a sidebar, the newest first.
    Index("sidebars_by_parent", "parent_id", sql("created desc"), postgresql_where=sql("parent_id is not null")),
    # Those in which nothing has happened for long.
    Index("sidebars_idle", "last_activity", postgresql_where=sql("closed is null")),
    # Statistics of a stretch of time.
    Index("sidebars_by_created", "created"),
    Index("sidebars_by_closed", "closed", postgresql_where=sql("closed is not null")),
    # At most one open review of a memory.
    Index(
        "sidebars_reviews",
        "session_id",
        "review_of",
        unique=True,
        postgresql_where=sql("review_of is not null and closed is null"),
    ),
    # Every post counts; room in the page keeps those updates off the indexes.
    postgresql_with={"fillfactor": "60"},
)

sidebar_participants = Table(
    "sidebar_participants",
    metadata,
    _sidebar(),
    Column("agent_id", Text, primary_key=True),
    # The order in which they were named.
    Column("position", Integer, nullable=False),
    # Whether the sidebar is open, was merged, or has ended otherwise; since when.
    Column("standing", Text, nullable=False, server_default=sql("'open'")),
    moment("since"),
    CheckConstraint("standing in ('open', 'merged', 'ended')", name="sidebar_participants_standing"),
    # The open sidebars of an agent, how many those are, with whom it has merged some; and all of them, for its lists.
    Index("sidebar_participants_by_agent", "agent_id", "standing", sql("since desc"), "sidebar_id"),
)

sidebar_exchanges = Table(
    "sidebar_exchanges",
    metadata,
    _sidebar(),
    # Without a gap, under the sidebar's lock.
    Column("seq", Integer, primary_key=True),
    # What a merge has copied keeps it.
    Column("exchange_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("data_refs", JSON, nullable=False),
    Column("mentions", ARRAY(Text), nullable=False, server_default=sql("'{}'")),
    Column("origin_sidebar_id", Text, nullable=True),
    Column("message_id", Text, nullable=False),
    moment("created"),
    CheckConstraint("kind in ('post', 'test_result', 'waiting', 'merge')", name="sidebar_exchanges_kind"),
)

sidebar_transitions = Table(
    "sidebar_transitions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("sidebar_id", Text, ForeignKey("sidebars.id", ondelete="CASCADE"), nullable=False),
    Column("from_status", Text, nullable=True),
    Column("to_status", Text, nullable=False),
    Column("by_agent", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("message_id", Text, nullable=False),
    moment("at"),
    Index("sidebar_transitions_by_sidebar", "sidebar_id", "id"),
)

# Sidebars that refer to each other, each pair both ways: parent and child, origin and fork, and what was named.
sidebar_links = Table(
    "sidebar_links",
    metadata,
    _sidebar(),
    Column("linked_id", Text, ForeignKey("sidebars.id", ondelete="CASCADE"), primary_key=True),
    moment("created"),
    # The newest of a sidebar.
    Index("sidebar_links_newest", "sidebar_id", sql("created desc"), "linked_id"),
    # What goes with a sidebar that goes with its session.
    Index("sidebar_links_by_linked", "linked_id"),
)
