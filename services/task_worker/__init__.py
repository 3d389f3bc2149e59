"""The task worker: a queue of work for each agent, handed out under leases; and the agents. See docs/tasks.md.

Consumes: the commands of the areas `task` and `agent` (expire_leases and run_due_tasks by its own alarm; get_task,
list_tasks, list_agents and list_callbacks as questions).
Emits: task_created … task_dead, agent_registered.
Owns: tasks, task_queues, task_dependencies, agents, callbacks, callback_attempts. Its claims that waited are what the
worker runtime lists in unconfirmed_messages.
"""
