"""start_task, heartbeat_task, complete_task and fail_task: what workers report about the tasks they hold."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from services.task_worker import tasks
from services.task_worker.endings import settle
from services.task_worker.extraction import mask
from services.task_worker.runs import rules
from services.task_worker.store import agents, changes, queues, reports
from services.task_worker.store import runs as run_store
from services.task_worker.store.reports import Report
from shared.bus.parking import Wake
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command, JsonText
from shared.messages.task import FailTask, Task
from shared.messages.task_events import TaskCompleted, TaskStarted

Done = TypeVar("Done")


async def start_task(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Say that work has begun; of a task that runs already, nothing changes."""
    answers: dict[int, Reply | Rejected] = {}
    for wave in _waves(commands):
        started = await reports.start_tasks(tx, wave)
        for at, task in started.items():
            answers[at] = Reply({"task": task}, [TaskStarted(session_id=task.session_id, task=task)])
        held = await _held(tx, [report for report in wave if report.at not in started])
        for report in wave:
            if report.at in answers:
                continue
            each = held.get(report.task_id)
            if each is not None and each.task.status == "running" and each.lease_token == report.lease_token:
                answers[report.at] = Reply({"task": each.task})
            else:
                answers[report.at] = _refusal(each, report, "started")
    return [answers[at] for at in range(len(commands))]


async def heartbeat_task(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Keep tasks for longer, as long as their leases hold."""
    kept, refused = await _report(tx, commands, reports.extend_leases, "kept")
    silent = {task.agent_name for task, is_silent in kept.values() if is_silent}
    if silent:
        await agents.hear(tx, sorted(silent))
    return [refused[at] if at in refused else Reply({"task": kept[at][0]}) for at in range(len(commands))]


async def complete_task(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Report tasks done under their leases."""
    done, refused = await _report(tx, commands, _complete, "completed")
    followed = await settle(tx, [task for task, _ in done.values()]) if done else {}
    answers: list[Reply | Rejected] = []
    for at in range(len(commands)):
        if at in refused:
            answers.append(refused[at])
            continue
        task, is_limited = done[at]
        then = followed[task.task_id]
        if is_limited:
            then.wakes.append(Wake(task.agent_name))
        event = TaskCompleted(session_id=task.session_id, task=task)
        answers.append(Reply({"task": task}, [event, *then.events], wakes=then.wakes, callbacks=then.callbacks))
    return answers


async def fail_task(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Report that attempts failed: the tasks wait for their next, or are over. Secrets in the reason are masked."""
    answers: dict[int, Reply | Rejected] = {}
    for wave in _waves(commands):
        held = await _held(tx, wave)
        moved: dict[int, tasks.Moved] = {}
        for report in wave:
            data: FailTask = commands[report.at].data
            each = held.get(report.task_id)
            if each is None or not _holds(each, report):
                answers[report.at] = _refusal(each, report, "failed")
            else:
                moved[report.at] = tasks.fail(each, mask(data.error_message), retry=data.retry)
        answers |= await after_attempts(tx, moved)
    return [answers[at] for at in range(len(commands))]


async def after_attempts(tx: Transaction, moved: Mapping[int, tasks.Moved]) -> dict[int, Reply | Rejected]:
    """Save what has become of tasks taken out of their holders' hands, with all that follows; the replies by key.

    Those that need not wait for a moment go into their queue at once.
    """
    if not moved:
        return {}
    await changes.save_tasks(tx, [task for task, _ in moved.values()])
    ended = [task for task, _ in moved.values() if task.status in tasks.ENDS]
    followed = await settle(tx, ended) if ended else {}
    back = [task.task_id for task, _ in moved.values() if task.status == "pending" and task.due is None]
    if back:
        await queues.release(tx, back)
    limited = await changes.limited_agents(tx, sorted({task.agent_name for task, _ in moved.values()}))
    answers: dict[int, Reply | Rejected] = {}
    for key, (task, event) in moved.items():
        then = followed.get(task.task_id)
        wakes = [Wake(task.agent_name)] if task.agent_name in limited else []
        if task.task_id in back:
            wakes.append(Wake(task.agent_name, frozenset(task.capabilities), task.session_id))
        if then is None:
            answers[key] = Reply({"task": task}, [event], wakes=wakes)
        else:
            answers[key] = Reply(
                {"task": task}, [event, *then.events], wakes=wakes + then.wakes, callbacks=then.callbacks
            )
    return answers


async def _complete(tx: Transaction, wave: list[Report]) -> dict[int, tuple[Task, bool]]:
    return await reports.complete_tasks(tx, [await _with_masked_result(tx, report) for report in wave])


async def _with_masked_result(tx: Transaction, report: Report) -> Report:
    """What a run of the task has brought is masked as it is with the run; others' results stay as they came."""
    if report.output_data is None or '"run_id"' not in report.output_data:
        return report
    given = JsonText(report.output_data.encode())
    masked = rules.masked_json(given)
    if masked is None or masked == given:
        return report
    value = given.value()
    run_id = value.get("run_id") if isinstance(value, dict) else None
    run = await run_store.find_run(tx, run_id) if isinstance(run_id, str) else None
    if run is None or run.task_id != report.task_id:
        return report
    return report._replace(output_data=str(masked))


async def _report(
    tx: Transaction,
    commands: list[Command],
    write: Callable[[Transaction, list[Report]], Awaitable[dict[int, Done]]],
    verb: str,
) -> tuple[dict[int, Done], dict[int, Rejected]]:
    """Write reports, and find out why others can't be; both by their places."""
    done: dict[int, Done] = {}
    refused: dict[int, Rejected] = {}
    for wave in _waves(commands):
        done |= await write(tx, wave)
        rest = [report for report in wave if report.at not in done]
        held = await _held(tx, rest)
        for report in rest:
            refused[report.at] = _refusal(held.get(report.task_id), report, verb)
    return done, refused


def _waves(commands: list[Command]) -> list[list[Report]]:
    """The reports in their order, in parts none of which names a task twice."""
    waves: list[dict[str, Report]] = []
    times: dict[str, int] = {}
    for at, command in enumerate(commands):
        data = command.data
        output: Any = getattr(data, "output_data", None)
        report = Report(at, data.task_id, data.lease_token, data.session_id, None if output is None else str(output))
        number = times.get(data.task_id, 0)
        times[data.task_id] = number + 1
        if number == len(waves):
            waves.append({})
        waves[number][data.task_id] = report
    return [list(wave.values()) for wave in waves]


async def _held(tx: Transaction, wave: list[Report]) -> dict[str, tasks.Held]:
    """The tasks of reports; nobody changes one that is in hand, since its session is locked."""
    return await changes.look_at_tasks(tx, [report.task_id for report in wave]) if wave else {}


def _holds(held: tasks.Held, report: Report) -> bool:
    return (
        held.task.status in tasks.IN_HAND
        and held.lease_token == report.lease_token
        and report.session_id in (None, held.task.session_id)
        and (held.deadline is None or held.deadline > held.at)
    )


def _refusal(held: tasks.Held | None, report: Report, verb: str) -> Rejected:
    if held is None or report.session_id not in (None, held.task.session_id):
        return tasks.unknown_task(report.task_id)
    return tasks.refused_report(held, report.lease_token, verb)
