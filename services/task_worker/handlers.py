"""The task worker's writing commands."""

from services.task_worker import store, tasks
from services.task_worker.callbacks.commands import send_callback
from shared.bus.commit import Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command, Event, new_id
from shared.messages.task import ClaimTask, CompleteTask, DelegateTask, TaskCreated

# What one run takes up at most, so that a batch that holds it stays short; the rest is for the next run.
LAPSED_AT_ONCE = 500


async def delegate_task(tx: Transaction, command: Command) -> Reply:
    """Put a task into an agent's queue. Raises `Rejected("not_found")` naming the agents there are."""
    data: DelegateTask = command.data
    task = await store.insert_task(tx, new_id(), data)
    if task is None:
        raise await _unknown_agent(tx, data.agent_name)
    return Reply({"task": task}, [TaskCreated(session_id=task.session_id, task=task)], {"task_count": 1})


async def claim_task(tx: Transaction, command: Command) -> Reply:
    """Hand out the first tasks of an agent's queue, each under a lease of its own; fewer when fewer wait."""
    data: ClaimTask = command.data
    agent = await store.find_agent(tx, data.agent_name)
    if agent is None:
        raise await _unknown_agent(tx, data.agent_name)
    in_hand = await store.count_in_hand(tx, agent.name) if agent.max_concurrent else 0
    count = tasks.claimable(agent, data.count, in_hand)
    claimed = await store.claim_tasks(tx, agent.name, data.worker_id, tasks.lease_tokens(count)) if count else []
    return Reply({"tasks": claimed}, [tasks.claimed(task) for task in claimed])


async def complete_task(tx: Transaction, command: Command) -> Reply:
    """Report a task done under its lease. Raises `Rejected`: `not_found`, or `conflict` for an old lease."""
    data: CompleteTask = command.data
    held = await store.lock_task(tx, data.task_id)
    if held is None:
        raise tasks.unknown_task(data.task_id)
    task, event = tasks.complete(held, data.lease_token, data.output_data)
    await store.save_completed(tx, task)
    return Reply({"task": task}, [event])


async def expire_leases(tx: Transaction, command: Command) -> Reply:
    """Take back the tasks whose lease has lapsed, those that lapsed first, up to 500 at once."""
    moved = [tasks.lapse(held) for held in await store.lock_lapsed(tx, LAPSED_AT_ONCE)]
    if moved:
        await store.save_lapsed(tx, [task for task, _ in moved])
    events: list[Event] = [event for _, event in moved]
    dead = sum(task.status == "dead" for task, _ in moved)
    return Reply({"requeued": len(moved) - dead, "dead": dead}, events)


async def _unknown_agent(tx: Transaction, name: str) -> Rejected:
    return tasks.unknown_agent(name, await store.agent_names(tx))


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler for handler in (delegate_task, claim_task, complete_task, expire_leases, send_callback)
}
