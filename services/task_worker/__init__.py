"""The task worker: a queue of work for each agent, handed out under leases.

Consumes: the commands of the area `task` (delegate_task, claim_task, complete_task, and expire_leases by its own timer;
get_task and list_tasks as questions).
Emits: task_created, task_claimed, task_completed, task_requeued, task_dead.
Owns: tasks, agents.
"""
