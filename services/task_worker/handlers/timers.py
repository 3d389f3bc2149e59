"""expire_leases and run_due_tasks: what happens to tasks by itself, a bounded number at once."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from services.task_worker import schedules, tasks
from services.task_worker.endings import wake_for
from services.task_worker.handlers.delegation import draft, store_drafts
from services.task_worker.handlers.reports import after_attempts
from services.task_worker.store import changes, queues, timers
from shared.bus.commit import OPEN
from shared.bus.handled import lock_sessions
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command, Event, new_id
from shared.messages.task import DelegateTask, Task
from shared.messages.task_events import TaskCreated, TaskReady

# What one run takes up at most, so that its transaction stays short; the rest is for the next run.
AT_ONCE = 500


async def expire_leases(tx: Transaction, command: Command) -> Reply:
    """Take back tasks whose lease has lapsed or whose time is up, those first whose lease lapsed first."""
    found = await timers.find_lapsed(tx, AT_ONCE)
    if not found:
        return Reply({"requeued": 0, "dead": 0})
    await lock_sessions(tx, sorted({session_id for _, session_id in found}))
    held = await changes.lock_tasks(tx, await timers.still_lapsed(tx, [task_id for task_id, _ in found]))
    moved = {at: tasks.lapse(each) for at, each in enumerate(held.values())}
    replies = await after_attempts(tx, moved)
    dead = sum(task.status == "dead" for task, _ in moved.values())
    return _joined({"requeued": len(moved) - dead, "dead": dead}, list(replies.values()))


async def run_due_tasks(tx: Transaction, command: Command) -> Reply:
    """Put tasks whose moment has come into their queues; a schedule makes a task, one for all the times it missed."""
    found = await timers.find_due(tx, AT_ONCE)
    if not found:
        return Reply({"ready": 0, "made": 0})
    statuses = await lock_sessions(tx, sorted({session_id for _, session_id in found}))
    due = await timers.still_due(tx, [task_id for task_id, _ in found])
    ready = _ready(await queues.release(tx, [task_id for task_id, is_schedule in due if not is_schedule]))
    made = await _run_schedules(tx, [task_id for task_id, is_schedule in due if is_schedule], statuses)
    return _joined({"ready": len(ready.events), "made": made.result["made"]}, [ready, made])


def _ready(released: list[tuple[Task, bool]]) -> Reply:
    ready = [task for task, is_claimable in released if is_claimable]
    events: list[Event] = [TaskReady(session_id=task.session_id, task=task) for task in ready]
    return Reply({}, events, wakes=[wake_for(task) for task in ready])


async def _run_schedules(tx: Transaction, task_ids: list[str], statuses: dict[str, str]) -> Reply:
    """Make a task for each schedule and set its next time; that of a closed session ends."""
    held = await changes.lock_tasks(tx, task_ids) if task_ids else {}
    targets = await changes.find_targets(tx, [each.task for each in held.values()])
    now = datetime.now(UTC)
    drafts, moments, over = [], {}, {}
    for at, each in enumerate(held.values()):
        schedule = each.task
        try:
            if statuses.get(schedule.session_id) not in OPEN:
                raise Rejected("conflict", f"its session is {statuses.get(schedule.session_id)}")
            moments[schedule.task_id] = schedules.next_time(schedule.cron or "", now)
            drafts.append(
                replace(
                    draft(at, new_id(), _asked(schedule, targets.get(schedule.task_id)), now),
                    schedule_id=schedule.task_id,
                )
            )
        except Rejected as reason:
            over[at] = tasks.cancel(each, reason.message)
    made = await store_drafts(tx, drafts) if drafts else []
    if moments:
        await timers.set_due(tx, moments)
    ended = await after_attempts(tx, over)
    events: list[Event] = [TaskCreated(session_id=task.session_id, task=task) for task in made]
    made_in = Counter(task.session_id for task in made)
    counts = {session_id: {"task_count": count} for session_id, count in made_in.items()}
    reply = Reply({}, events, counts_elsewhere=counts, wakes=[wake_for(task) for task in made])
    return _joined({"made": len(made)}, [reply, *ended.values()])


def _asked(schedule: Task, callback_url: str | None) -> DelegateTask:
    """The task a schedule makes each time."""
    return DelegateTask(
        session_id=schedule.session_id,
        agent_name=schedule.agent_name,
        task_type=schedule.task_type,
        description=schedule.description,
        input_data=schedule.input_data,
        priority=schedule.priority,
        max_attempts=schedule.max_attempts,
        timeout_s=schedule.timeout_s,
        capabilities=schedule.capabilities,
        callback_url=callback_url,
    )


def _joined(result: dict[str, int], replies: list[Reply | Rejected]) -> Reply:
    whole = Reply(dict(result))
    for reply in replies:
        if isinstance(reply, Reply):
            whole.events += reply.events
            whole.counts_elsewhere |= reply.counts_elsewhere
            whole.wakes += reply.wakes
            whole.callbacks += reply.callbacks
    return whole
