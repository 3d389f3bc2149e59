"""The session worker: sessions and what belongs to them, deliveries, the event log's copy, dead letters, keys,
sidebars, mentions, and what the live layer is ordered.

Consumes: the commands of the areas `session`, `webhook` and `sidebar` from their queues, the event stream,
the dead-letter queue.
Emits: session_created, session_paused, session_resumed, session_completed, session_failed, session_archived,
conversation_chunk_added, action_logged, response_logged, state_updated, goal_added, goal_updated, agent_spawned,
agent_completed, artifact_added, llm_conversation_insight, webhook, dead_letter_added, event_log_recreated, key_changed,
mention_route, security_emergency_broadcast, critical_failure_broadcast, system_shutdown, maintenance_shutdown,
emergency_shutdown_warning, tokens_revoked, sidebar_spawn, sidebar_child_spawn, sidebar_fork, sidebar_status_update,
sidebar_pause, sidebar_resume, sidebar_exchange, sidebar_test_result, sidebar_waiting_update, sidebar_merge,
sidebar_archive; and, for the commands within a batch, what their own workers emit.
Owns: sessions, session_transitions, conversation_chunks, actions, responses, session_states, session_goals,
session_agents, artifacts, deliveries, events, event_log, dead_letters, api_keys, audit, mentions, resumed_connections,
revoked_tokens, sidebars, sidebar_participants, sidebar_exchanges, sidebar_transitions, sidebar_links, and the expiry of
handled_messages.
"""
