"""The Claude worker: bots that answer in rooms, on a pool of live Claude clients. See docs/chat.md.

Consumes: the commands of the area `chat`: the partitions that are its share from queues of their own (`chat.00` …
`chat.15`), the others with all its replicas; chat_stats, list_turns and list_approvals as questions.
Emits: chat_queued … chat_answered, chat_delta, chat_reset, chat_busy, chat_budget_warned, approval_requested,
approval_decided, bot_switched.
Owns: chats, turns, chat_transcripts, chat_approvals, chat_usage, chat_posts, chat_switches, chat_workers,
chat_partitions.

From a message to its answer: `handlers` (each one transaction) → `answering` (whose rooms, one after the other)
→ `pool` → `client` (one Claude Code) with its `tools` → `handlers` again → `posting` into rooms of chat servers.
"""
