"""The one place every task passes when it ends, completed, failed, cancelled or dead: what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.task_worker import tasks
from services.task_worker.callbacks.commands import ended as callbacks_of
from services.task_worker.store import changes, queues
from shared.bus.callbacks import CallbackOwed
from shared.bus.parking import Wake
from shared.database import Transaction
from shared.messages import Event
from shared.messages.task import Task
from shared.messages.task_events import TaskReady


@dataclass(slots=True)
class Consequences:
    """What follows from a task's end: all that ended with it, what is told, and whose queues have more to give."""

    ended: list[Task]
    events: list[Event] = field(default_factory=list)
    wakes: list[Wake] = field(default_factory=list)
    # Where those that ended call back, by task.
    targets: dict[str, str] = field(default_factory=dict)

    @property
    def callbacks(self) -> list[CallbackOwed]:
        """Who is to be told, of each task that has ended."""
        return [owed for task in self.ended for owed in callbacks_of(task, self.targets.get(task.task_id))]


async def settle(tx: Transaction, ended: Sequence[Task]) -> dict[str, Consequences]:
    """What follows from the end of these tasks, by their ids.

    What waited for a completed task may be claimed, if it waits for nothing else; what waited for another fails, and
    what waited for that. The tasks must have been saved, and their sessions be locked.
    """
    told = {task.task_id: Consequences([task]) for task in ended}
    unfinished = [task.task_id for task in ended if task.status != "completed"]
    if unfinished:
        await changes.forget_dependencies(tx, unfinished)
    waiting = await changes.take_dependants(tx, list(told))
    root = {task_id: task_id for task_id in told}
    by_id = {task.task_id: task for task in ended}
    while waiting:
        failing = {task_id: on for on, task_id in waiting if by_id[on].status != "completed"}
        freed = {task_id: on for on, task_id in waiting if task_id not in failing}
        for task, is_claimable in await queues.release(tx, list(freed)) if freed else []:
            if is_claimable:
                consequences = told[root[freed[task.task_id]]]
                consequences.events.append(TaskReady(session_id=task.session_id, task=task))
                consequences.wakes.append(wake_for(task))
        waiting = []
        if failing:
            moved = await _fail(tx, {task_id: by_id[on] for task_id, on in failing.items()})
            for task, event in moved:
                by_id[task.task_id] = task
                root[task.task_id] = root[failing[task.task_id]]
                told[root[task.task_id]].ended.append(task)
                told[root[task.task_id]].events.append(event)
            waiting = await changes.take_dependants(tx, [task.task_id for task, _ in moved]) if moved else []
    targets = await changes.find_targets(tx, list(by_id.values()))
    for consequences in told.values() if targets else ():
        consequences.targets = targets
    return told


async def _fail(tx: Transaction, failing: dict[str, Task]) -> list[tasks.Moved]:
    """Fail tasks that wait, each for the end of a task it depends on."""
    held = await changes.lock_tasks(tx, list(failing))
    moved = [
        tasks.failed(each, tasks.dependency_reason(on.task_id, on.status, on.error_message))
        for task_id, on in failing.items()
        if (each := held.get(task_id)) is not None and each.task.status == "pending"
    ]
    if moved:
        await changes.save_tasks(tx, [task for task, _ in moved])
        await changes.forget_dependencies(tx, [task.task_id for task, _ in moved])
    return moved


def wake_for(task: Task) -> Wake:
    """Whom a task that can be claimed now wakes."""
    return Wake(task.agent_name, frozenset(task.capabilities), task.session_id)
