"""The session worker: sessions and their conversation, webhook deliveries, the event log's copy, and dead letters.

Consumes: the commands of the areas `session` and `webhook` from their queues, the event stream, the dead-letter queue.
Emits: session_created, session_paused, session_resumed, session_completed, conversation_chunk_added,
llm_conversation_insight, webhook, dead_letter_added, event_log_recreated.
Owns: sessions, session_transitions, conversation_chunks, artifacts, deliveries, events, event_log, dead_letters,
api_keys, and the expiry of handled_messages.
"""
