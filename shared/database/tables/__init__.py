"""Every table, as the migrations must leave it, in a module for each that writes them."""

from shared.database.tables.access import api_keys, audit
from shared.database.tables.callbacks import callback_attempts, callbacks
from shared.database.tables.chat import (
    chat_approvals,
    chat_partitions,
    chat_posts,
    chat_switches,
    chat_transcripts,
    chat_usage,
    chat_workers,
    chats,
    turns,
)
from shared.database.tables.columns import metadata
from shared.database.tables.event_log import dead_letters, deliveries, event_log, events
from shared.database.tables.live import mentions, presences, resumed_connections, revoked_tokens
from shared.database.tables.memories import memories, memory_versions
from shared.database.tables.runs import (
    agent_controls,
    agent_output,
    agent_run_states,
    agent_runs,
    code_blocks,
    extraction_counts,
    extraction_states,
    extractions,
)
from shared.database.tables.runtime import handled_messages, unconfirmed_messages
from shared.database.tables.session_parts import actions, responses, session_agents, session_goals, session_states
from shared.database.tables.sessions import artifacts, conversation_chunks, session_transitions, sessions
from shared.database.tables.sidebars import (
    sidebar_exchanges,
    sidebar_links,
    sidebar_participants,
    sidebar_transitions,
    sidebars,
)
from shared.database.tables.tasks import agents, task_dependencies, task_queues, tasks

__all__ = [
    "actions",
    "agent_controls",
    "agent_output",
    "agent_run_states",
    "agent_runs",
    "agents",
    "api_keys",
    "artifacts",
    "audit",
    "callback_attempts",
    "callbacks",
    "chat_approvals",
    "chat_partitions",
    "chat_posts",
    "chat_switches",
    "chat_transcripts",
    "chat_usage",
    "chat_workers",
    "chats",
    "code_blocks",
    "conversation_chunks",
    "dead_letters",
    "deliveries",
    "event_log",
    "events",
    "extraction_counts",
    "extraction_states",
    "extractions",
    "handled_messages",
    "memories",
    "memory_versions",
    "mentions",
    "metadata",
    "presences",
    "responses",
    "resumed_connections",
    "revoked_tokens",
    "session_agents",
    "session_goals",
    "session_states",
    "session_transitions",
    "sessions",
    "sidebar_exchanges",
    "sidebar_links",
    "sidebar_participants",
    "sidebar_transitions",
    "sidebars",
    "task_dependencies",
    "task_queues",
    "tasks",
    "turns",
    "unconfirmed_messages",
]
