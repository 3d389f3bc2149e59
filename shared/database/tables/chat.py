"""The Claude worker's tables: chats and their turns, what Claude remembers of them, and who runs which partition."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSON

from shared.database.tables.columns import MOMENT, metadata, moment

_NONE = text("0")

# A bot in a room.
chats = Table(
    "chats",
    metadata,
    Column("room_id", Text, primary_key=True),
    Column("bot_id", Text, primary_key=True),
    # The number of its last turn.
    Column("last_turn", BigInteger, nullable=False, server_default=_NONE),
    # Which time they begin anew.
    Column("conversation", Integer, nullable=False, server_default=text("1")),
    # The Claude session they are in, whose entries are in chat_transcripts; null: there is nothing to remember.
    Column("claude_session", Text, nullable=True),
    # What differs from the bot's own.
    Column("idle_minutes", Float(53), nullable=True),
    Column("keep_days", Float(53), nullable=True),
    # Whether anything came from outside since they began; and the turn that has said something without an end yet.
    Column("untrusted", Boolean, nullable=False, server_default=text("false")),
    Column("parked_turn", Text, nullable=True),
    moment("created"),
    moment("last_activity"),
    # Those past their retention.
    Index("chats_by_activity", "last_activity"),
    postgresql_with={"fillfactor": "80"},
)

turns = Table(
    "turns",
    metadata,
    Column("turn_id", Text, primary_key=True),
    Column("room_id", Text, nullable=False),
    Column("bot_id", Text, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    # The command it came by, and what its envelope said.
    Column("message_id", Text, nullable=False),
    Column("sender_agent_id", Text, nullable=False),
    Column("hops", Integer, nullable=False),
    Column("trust", Text, nullable=False),
    Column("traceparent", Text, nullable=True),
    Column("user_name", Text, nullable=False),
    Column("user_id", Text, nullable=True),
    Column("room_name", Text, nullable=True),
    Column("text", Text, nullable=False),
    # Where the answer goes beside the event, sealed by the door.
    Column("reply_to", Text, nullable=True),
    # How often it was begun, and how many of those times failed.
    Column("attempt", Integer, nullable=False, server_default=_NONE),
    Column("failures", Integer, nullable=False, server_default=_NONE),
    # The epoch of the partition in which the attempt in hand began.
    Column("epoch", BigInteger, nullable=True),
    Column("answer", Text, nullable=True),
    Column("path", Text, nullable=True),
    Column("reason", Text, nullable=True),
    Column("merged_into", Text, nullable=True),
    # Whether its sender was told that it was dropped or merged, if he is to be called back.
    Column("called_back", Boolean, nullable=False, server_default=text("false")),
    # Whether the room was told that the bot is busy.
    Column("busy_told", Boolean, nullable=False, server_default=text("false")),
    Column("input_tokens", BigInteger, nullable=False, server_default=_NONE),
    Column("output_tokens", BigInteger, nullable=False, server_default=_NONE),
    Column("cost_usd", Float(53), nullable=False, server_default=_NONE),
    Column("waited_ms", Float(53), nullable=True),
    Column("connect_ms", Float(53), nullable=True),
    Column("answer_ms", Float(53), nullable=True),
    moment("queued"),
    moment("started", default=False),
    moment("completed", default=False),
    ForeignKeyConstraint(["room_id", "bot_id"], ["chats.room_id", "chats.bot_id"], ondelete="CASCADE"),
    CheckConstraint(
        "status in ('queued', 'running', 'parked', 'answered', 'failed', 'merged', 'dropped')", name="turns_status"
    ),
    # A turn's place, and the turns of a chat for lists.
    Index("turns_of_chat", "room_id", "bot_id", "number", unique=True),
    # What the owner of a partition has to do.
    Index(
        "turns_open",
        "partition",
        "room_id",
        "bot_id",
        "number",
        postgresql_where=text("status in ('queued', 'running', 'parked')"),
    ),
    Index("turns_newest", text("queued desc"), text("turn_id desc")),
    # Those whose senders are still to be told that there will be no answer.
    Index(
        "turns_to_call_back",
        "partition",
        postgresql_where=text("reply_to like 'callback:%' and status in ('dropped', 'merged') and not called_back"),
    ),
    postgresql_with={"fillfactor": "80"},
)

# What Claude remembers: the lines of its transcripts, through the SDK's session store.
chat_transcripts = Table(
    "chat_transcripts",
    metadata,
    # The order of the lines.
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("project_key", Text, nullable=False),
    Column("claude_session", Text, nullable=False),
    # Empty for the conversation itself, else a part of it with a transcript of its own.
    Column("subpath", Text, nullable=False, server_default=text("''")),
    # Most lines have one; written once.
    Column("uuid", Text, nullable=True),
    # As the CLI wrote it, which may be any JSON: json, since jsonb takes no \\u0000.
    Column("entry", JSON, nullable=False),
    # The turn that was parked after these lines; they go with it if it is not answered.
    Column("turn_id", Text, nullable=True),
    moment("written"),
    Index("chat_transcripts_in_order", "claude_session", "project_key", "subpath", "number"),
    Index(
        "chat_transcripts_once",
        "claude_session",
        "project_key",
        "subpath",
        "uuid",
        unique=True,
        postgresql_where=text("uuid is not null"),
    ),
)

# Tools that wait to be allowed.
chat_approvals = Table(
    "chat_approvals",
    metadata,
    Column("approval_id", Text, primary_key=True),
    Column("turn_id", Text, nullable=False),
    Column("room_id", Text, nullable=False),
    Column("bot_id", Text, nullable=False),
    Column("tool", Text, nullable=False),
    # Claude's own id of this use of the tool, by which it is found again.
    Column("tool_use_id", Text, nullable=False),
    Column("input", JSON, nullable=False),
    # How often the turn had used each tool with each input by then.
    Column("calls", JSON, nullable=True),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("decided_by", Text, nullable=True),
    Column("note", Text, nullable=True),
    moment("created"),
    Column("expires", MOMENT, nullable=False),
    moment("decided", default=False),
    ForeignKeyConstraint(["turn_id"], ["turns.turn_id"], ondelete="CASCADE"),
    CheckConstraint("status in ('pending', 'approved', 'denied', 'expired')", name="chat_approvals_status"),
    Index("chat_approvals_once", "turn_id", "tool_use_id", unique=True),
    Index("chat_approvals_pending", "expires", postgresql_where=text("status = 'pending'")),
    # What a room waits for, and what was decided for a turn.
    Index("chat_approvals_of_chat", "room_id", "bot_id", text("created desc")),
    Index("chat_approvals_of_turn", "turn_id", text("created desc")),
    Index("chat_approvals_newest", text("created desc"), text("approval_id desc")),
)

# What bots have used, by room and day (UTC).
chat_usage = Table(
    "chat_usage",
    metadata,
    Column("day", Date, primary_key=True),
    Column("bot_id", Text, primary_key=True),
    Column("room_id", Text, primary_key=True),
    Column("turns", Integer, nullable=False, server_default=_NONE),
    Column("input_tokens", BigInteger, nullable=False, server_default=_NONE),
    Column("output_tokens", BigInteger, nullable=False, server_default=_NONE),
    Column("cost_usd", Float(53), nullable=False, server_default=_NONE),
    # Whether somebody was warned of the room's budget; of the bot's it says so in the row of the room ''.
    Column("warned", Boolean, nullable=False, server_default=text("false")),
    # Whether the room was told that a budget, its own or the bot's, is used up.
    Column("refused", Boolean, nullable=False, server_default=text("false")),
)

# Bots that are switched off; `bot_id` '' stands for all of them.
chat_switches = Table(
    "chat_switches",
    metadata,
    Column("bot_id", Text, primary_key=True),
    Column("switched_by", Text, nullable=False),
    Column("reason", Text, nullable=True),
    moment("at"),
)

# What is to be said in rooms outside, in its order; written with the turn it comes from, and deleted with it.
chat_posts = Table(
    "chat_posts",
    metadata,
    Column("post_id", BigInteger, Identity(always=True), primary_key=True),
    Column("turn_id", Text, nullable=False),
    Column("room_id", Text, nullable=False),
    Column("bot_id", Text, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    # Where to, sealed by the door.
    Column("reply_to", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=_NONE),
    Column("status", Text, nullable=False, server_default=text("'waiting'")),
    Column("last_error", Text, nullable=True),
    moment("created"),
    moment("due"),
    # How many of its messages the room has; whether it may have one more, of which nobody knows.
    Column("part", SmallInteger, nullable=False, server_default=_NONE),
    Column("unsure", Boolean, nullable=False, server_default=text("false")),
    # The last of them, by the chat server's own number.
    Column("message_ref", Text, nullable=True),
    moment("ended", default=False),
    # Whether it says that the turn was dropped, or merged into another; only those are told so who are called back.
    Column("ends", Boolean, nullable=False, server_default=text("false")),
    ForeignKeyConstraint(["turn_id"], ["turns.turn_id"], ondelete="CASCADE"),
    CheckConstraint("status in ('waiting', 'sent', 'given_up')", name="chat_posts_status"),
    # What the owner of a partition has to send.
    Index(
        "chat_posts_waiting",
        "partition",
        "room_id",
        "bot_id",
        "post_id",
        postgresql_where=text("status = 'waiting'"),
    ),
    # How far a room has come.
    Index("chat_posts_last", "room_id", "bot_id", "post_id", postgresql_where=text("message_ref is not null")),
    # What goes with a turn.
    Index("chat_posts_of_turn", "turn_id"),
)

# Messages in rooms that grow while a turn is being answered; `message_ref` null: one may be there.
chat_drafts = Table(
    "chat_drafts",
    metadata,
    Column("turn_id", Text, primary_key=True),
    Column("message_ref", Text, nullable=True),
    moment("created"),
    ForeignKeyConstraint(["turn_id"], ["turns.turn_id"], ondelete="CASCADE"),
)

# The replicas of the Claude worker that live.
chat_workers = Table(
    "chat_workers",
    metadata,
    Column("worker_id", Text, primary_key=True),
    moment("seen"),
    # Whether it stops, and wants no partition.
    Column("leaving", Boolean, nullable=False, server_default=text("false")),
    # What it says of itself: see `chat_stats`.
    Column("status", JSON, nullable=True),
)

# Who runs which partition. The epoch goes up with each new owner: what an older one writes is refused.
chat_partitions = Table(
    "chat_partitions",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=True),
    Column("epoch", BigInteger, nullable=False, server_default=_NONE),
    # Until when it is the owner's, unless that says so again.
    moment("lease", default=False),
)
