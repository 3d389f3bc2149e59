"""cancel_task and retry_task."""

from services.task_worker import tasks
from services.task_worker.endings import wake_for
from services.task_worker.handlers.reports import after_attempts
from services.task_worker.store import changes, delegation, queues
from shared.bus.commit import HandledElsewhere
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.errors import conflict
from shared.messages import Command
from shared.messages.task import CancelTask, RetryTask


async def cancel_task(tx: Transaction, command: Command) -> Reply:
    """End a task or a schedule. Raises `Rejected`: `not_found`, or `conflict` when it has ended."""
    data: CancelTask = command.data
    moved = tasks.cancel(await _lock(tx, data), data.reason)
    return (await after_attempts(tx, {0: moved}))[0]  # type: ignore[return-value]


async def retry_task(tx: Transaction, command: Command) -> Reply:
    """Bring a dead or failed task back, to wait again for what it depends on.

    Raises `Rejected`: `not_found`; `conflict` when it is neither, or depends on a task that would fail it again.
    """
    data: RetryTask = command.data
    held = await _lock(tx, data)
    task, event = tasks.revive(held, command.sender_agent_id)
    found = await delegation.find_dependencies(tx, task.depends_on) if task.depends_on else {}
    for each in found.values():
        if each.status in tasks.ENDS and each.status != "completed":
            raise conflict(
                f"task {task.task_id!r} depends on {each.task_id!r}, which is {each.status}; retry that first",
                task_id=task.task_id,
                depends_on=each.task_id,
                status=each.status,
            )
    await changes.save_tasks(tx, [task])
    waits = [(each.task_id, task.task_id) for each in found.values() if each.status != "completed"]
    if waits:
        await delegation.add_dependencies(tx, waits)
    released = await queues.release(tx, [task.task_id])
    wakes = [wake_for(task) for task, is_claimable in released if is_claimable]
    if released:
        task = released[0][0]
        event = event.model_copy(update={"task": task})
    return Reply({"task": task}, [event], wakes=wakes)


async def _lock(tx: Transaction, data: CancelTask | RetryTask) -> tasks.Held:
    held = (await changes.lock_tasks(tx, [data.task_id])).get(data.task_id)
    if held is None and await changes.look_at_tasks(tx, [data.task_id]):
        raise HandledElsewhere(f"task {data.task_id!r} is being claimed just now")
    if held is None or data.session_id not in (None, held.task.session_id):
        raise tasks.unknown_task(data.task_id)
    return held
