"""delegate_task: new tasks, many in one statement."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b

from services.task_worker import schedules, tasks
from services.task_worker.endings import settle, wake_for
from services.task_worker.store import agents, changes, delegation, queues
from services.task_worker.store.delegation import Dependency, Draft, Once
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.errors import Rejected, conflict, invalid
from shared.messages import Command, JsonText, new_id, rfc3339
from shared.messages.json_text import same_for_all
from shared.messages.task import DelegateTask, Task
from shared.messages.task_events import TaskCreated


async def delegate_task(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Put tasks into their agents' queues, in their order; their sessions must be locked.

    One statement, as long as nobody names an idempotency key, a task to wait for, or capabilities never named before.
    """
    answers: dict[int, Reply | Rejected] = {}
    waiting: list[Draft] = []
    now = datetime.now(UTC)
    for at, command in enumerate(commands):
        try:
            waiting.append(draft(at, new_id(), command.data, now))
        except Rejected as refusal:
            answers[at] = refusal
    while waiting:
        wave, waiting = _split_repeated(waiting)
        wave = await _without_known(tx, wave, answers)
        dependencies = await _dependencies(tx, wave)
        wave = [each for each in wave if not _refuse_dependencies(each, dependencies, answers)]
        answers |= await _store(tx, [_waiting_for(each, dependencies) for each in wave], dependencies)
    for at, command in enumerate(commands):
        answer = answers[at]
        if command.data.callback_url is not None and isinstance(answer, Reply):
            # Whoever named the URL gets it back whole; in events and to others a task says only its host.
            task: Task = answer.result["task"]
            answer.result = {"task": task.model_copy(update={"callback_url": command.data.callback_url})}
    return [answers[at] for at in range(len(commands))]


def draft(at: int, task_id: str, asked: DelegateTask, now: datetime) -> Draft:
    """The task a `delegate_task` asks for. Raises `Rejected("invalid")` for an impossible moment or schedule."""
    run_at = schedules.moment(asked.run_at)
    due = run_at if run_at is not None and run_at > now else None
    if asked.cron is not None:
        if asked.depends_on:
            raise invalid("a schedule (`cron`) depends on nothing; leave out `depends_on`", cron=asked.cron)
        due = schedules.next_time(asked.cron, max(run_at or now, now))
    text = None if asked.input_data is None else str(asked.input_data)
    return Draft(
        at=at,
        id=task_id,
        session_id=asked.session_id,
        agent_name=asked.agent_name,
        task_type=asked.task_type,
        description=asked.description,
        priority=asked.priority,
        input_data=text,
        max_attempts=asked.max_attempts,
        timeout_s=asked.timeout_s,
        run_at=run_at,
        due=due,
        cron=asked.cron,
        schedule_id=None,
        capabilities=asked.capabilities,
        depends_on=list(dict.fromkeys(asked.depends_on)),
        idempotency_key=asked.idempotency_key,
        fingerprint=_fingerprint(asked) if asked.idempotency_key is not None else None,
        callback_url=asked.callback_url,
        claimable=due is None,
    )


async def store_drafts(tx: Transaction, drafts: Sequence[Draft]) -> list[Task]:
    """Put new tasks into their queues, which are made where they are missing; those of unknown agents are left out."""
    created = await delegation.insert_tasks(tx, drafts)
    missing = [each for each in drafts if each.id not in created]
    if missing:
        wanted = {(each.agent_name, *each.capabilities): each for each in missing}.values()
        await queues.make_queues(
            tx, [{"agent_name": each.agent_name, "capabilities": each.capabilities} for each in wanted]
        )
        created |= await delegation.insert_tasks(tx, missing)
    return [_task(each, created[each.id]) for each in drafts if each.id in created]


async def _store(
    tx: Transaction, drafts: list[Draft], dependencies: dict[str, Dependency]
) -> dict[int, Reply | Rejected]:
    if not drafts:
        return {}
    made = {task.task_id: task for task in await store_drafts(tx, drafts)}
    answers: dict[int, Reply | Rejected] = {}
    names: list[str] | None = None
    waits = []
    for each in drafts:
        task = made.get(each.id)
        if task is None:
            names = names if names is not None else await agents.agent_names(tx)
            answers[each.at] = tasks.unknown_agent(each.agent_name, names)
            continue
        wakes = [wake_for(task)] if each.claimable else []
        answers[each.at] = Reply(
            {"task": task}, [TaskCreated(session_id=task.session_id, task=task)], {"task_count": 1}, wakes=wakes
        )
        waits += [(on, each.id) for on in each.depends_on if dependencies[on].status != "completed"]
    if waits:
        await delegation.add_dependencies(tx, waits)
        await _fail_hopeless(tx, drafts, dependencies, answers)
    return answers


async def _fail_hopeless(
    tx: Transaction, drafts: list[Draft], dependencies: dict[str, Dependency], answers: dict[int, Reply | Rejected]
) -> None:
    """Fail at once what waits for a task that has ended without being completed."""
    hopeless = {
        each.id: (each.at, on)
        for each in drafts
        for on in (dependencies[name] for name in each.depends_on)
        if on.status in tasks.ENDS and on.status != "completed" and isinstance(answers[each.at], Reply)
    }
    if not hopeless:
        return
    held = await changes.lock_tasks(tx, list(hopeless))
    moved = {}
    for task_id, (_, on) in hopeless.items():
        reason = tasks.dependency_reason(on.task_id, on.status, on.error_message)
        moved[task_id] = tasks.failed(held[task_id], reason)
    await changes.save_tasks(tx, [task for task, _ in moved.values()])
    followed = await settle(tx, [task for task, _ in moved.values()])
    for task_id, (task, event) in moved.items():
        reply = answers[hopeless[task_id][0]]
        assert isinstance(reply, Reply)
        reply.result = {"task": task}
        reply.events += [event, *followed[task_id].events]
        reply.callbacks = followed[task_id].callbacks


def _split_repeated(drafts: list[Draft]) -> tuple[list[Draft], list[Draft]]:
    """The drafts that can be stored in one go, and those whose idempotency key one of them has."""
    seen: set[Once] = set()
    first: list[Draft] = []
    later: list[Draft] = []
    for each in drafts:
        once = _once(each)
        (later if once is not None and once in seen else first).append(each)
        if once is not None:
            seen.add(once)
    return first, later


async def _without_known(tx: Transaction, drafts: list[Draft], answers: dict[int, Reply | Rejected]) -> list[Draft]:
    """Answer the drafts whose idempotency key has a task already; returns the others."""
    keyed = [once for each in drafts if (once := _once(each)) is not None]
    known = await delegation.find_once(tx, keyed) if keyed else {}
    fresh = []
    for each in drafts:
        once = _once(each)
        if once is None or once not in known:
            fresh.append(each)
            continue
        task, fingerprint = known[once]
        if fingerprint is not None and fingerprint.hex() == each.fingerprint:
            answers[each.at] = Reply({"task": task})
        else:
            answers[each.at] = conflict(
                f"idempotency key {each.idempotency_key!r} stands for task {task.task_id!r}, which is another",
                task_id=task.task_id,
                idempotency_key=each.idempotency_key,
            )
    return fresh


async def _dependencies(tx: Transaction, drafts: list[Draft]) -> dict[str, Dependency]:
    named = {task_id for each in drafts for task_id in each.depends_on}
    return await delegation.find_dependencies(tx, sorted(named)) if named else {}


def _refuse_dependencies(
    each: Draft, dependencies: dict[str, Dependency], answers: dict[int, Reply | Rejected]
) -> bool:
    """Refuse a draft that waits for what is not there, belongs to another session, or never completes."""
    for task_id in each.depends_on:
        found = dependencies.get(task_id)
        if found is None or found.session_id != each.session_id:
            answers[each.at] = Rejected(
                "not_found", f"session {each.session_id!r} has no task {task_id!r} to depend on", task_id=task_id
            )
            return True
        if found.is_schedule:
            answers[each.at] = conflict(
                f"task {task_id!r} is a schedule, which never completes; depend on a task it has made", task_id=task_id
            )
            return True
    return False


def _waiting_for(each: Draft, dependencies: dict[str, Dependency]) -> Draft:
    """The draft as it is while it waits for others: its moment counts only after them."""
    if all(dependencies[name].status == "completed" for name in each.depends_on):
        return each
    return replace(each, claimable=False, due=None)


def _once(each: Draft) -> Once | None:
    if each.idempotency_key is None:
        return None
    return Once(each.session_id, each.agent_name, each.idempotency_key)


def _fingerprint(asked: DelegateTask) -> str:
    """What tells a repetition from another task under the same key."""
    fields = dict(asked.__dict__)
    if asked.input_data is not None:
        fields["input_data"] = same_for_all(asked.input_data.text)
    return blake2b(repr(sorted(fields.items())).encode(), digest_size=16).hexdigest()


def _task(each: Draft, created: datetime) -> Task:
    return Task.trusted(
        {
            "task_id": each.id,
            "session_id": each.session_id,
            "agent_name": each.agent_name,
            "task_type": each.task_type,
            "description": each.description,
            "priority": each.priority,
            "status": "pending",
            "input_data": None if each.input_data is None else JsonText(each.input_data.encode()),
            "output_data": None,
            "error_message": None,
            "attempt": 0,
            "max_attempts": each.max_attempts,
            "timeout_s": each.timeout_s,
            "depends_on": each.depends_on,
            "capabilities": each.capabilities,
            "run_at": None if each.run_at is None else rfc3339(each.run_at),
            "due": None if each.due is None else rfc3339(each.due),
            "cron": each.cron,
            "schedule_id": each.schedule_id,
            "idempotency_key": each.idempotency_key,
            "callback_url": None if each.callback_url is None else tasks.shown_target(each.callback_url),
            "claimed_by": None,
            "created": rfc3339(created),
            "started": None,
            "completed": None,
        }
    )
