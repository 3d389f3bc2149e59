"""The Claude worker: bots that answer in rooms, on a pool of live Claude clients. See docs/chat.md.

Consumes: the commands of the area `chat`: the partitions that are its share from queues of their own (`chat.00` …
`chat.15`), the others with all its replicas; chat_stats and list_turns as questions.
Emits: chat_queued … chat_answered, chat_reset, chat_delta.
Owns: chats, turns, chat_transcripts, chat_usage, chat_workers, chat_partitions.
"""
