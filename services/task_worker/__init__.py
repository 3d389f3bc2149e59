"""The task worker: a queue of work for each agent, handed out under leases; the agents, their runs and their output.

See docs/tasks.md and docs/agents.md.

Consumes: the commands of the areas `task` and `agent` (expire_leases, run_due_tasks and lose_silent_runs by its own
alarms, ask_agent and record_extractions by itself; get_task, list_tasks, list_agents, list_callbacks and those of
`run_queries` as questions).
Emits: task_created … task_dead, agent_registered, agent_run_started … agent_control_answered, extraction_found.
Owns: tasks, task_queues, task_dependencies, agents, agent_runs, agent_run_states, agent_output, agent_controls,
extraction_states, extractions, extraction_counts, code_blocks, callbacks, callback_attempts. Its claims that waited are
what the worker runtime lists in unconfirmed_messages.
"""
