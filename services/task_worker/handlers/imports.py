"""import_tasks: tasks as they were in another place."""

import msgspec
from pydantic import ValidationError

from services.task_worker.store import imports, queues
from services.task_worker.tasks import is_shown_target
from shared.bus.handled import lock_sessions
from shared.bus.parking import Wake
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.errors import Rejected, conflict, invalid, not_found
from shared.messages import Command, JsonText
from shared.messages.envelope import invalid_fields
from shared.messages.json_text import slices
from shared.messages.task import ImportTasks, Task

MAX_TASKS = 1_000
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_VERBATIM = ("input_data", "output_data")


async def import_tasks(tx: Transaction, command: Command) -> Reply:
    """Write tasks as they were; what was in hand waits again, and what waited for others waits for them.

    Raises `Rejected`: `invalid`, naming the task, `not_found` for a session or an agent that is not there, or
    `conflict` for an id that a task of another session has, or another task of this one.
    """
    data: ImportTasks = command.data
    tasks = read_tasks(data)
    if not await lock_sessions(tx, [data.session_id]):
        raise not_found("session", data.session_id)
    if not tasks:
        return Reply({"imported": 0})
    if (unknown := await imports.find_unknown(tx, [task.agent_name for task in tasks])) is not None:
        raise Rejected("not_found", f"agent {unknown!r} is not registered", agent_name=unknown)
    if (taken := await imports.find_elsewhere(tx, data.session_id, [task.task_id for task in tasks])) is not None:
        raise conflict(f"another session has a task {taken!r}; import this one under another id", task_id=taken)
    if (different := await imports.find_different(tx, tasks)) is not None:
        raise conflict(
            f"session {data.session_id!r} has another task {different!r}, or one under its idempotency key; import it"
            " under another id",
            session_id=data.session_id,
            task_id=different,
        )
    await queues.make_queues(tx, [{"agent_name": task.agent_name, "capabilities": task.capabilities} for task in tasks])
    imported = await imports.insert_tasks(tx, tasks)
    await imports.add_dependencies(tx, list(imported))
    await queues.release(tx, [task_id for task_id, is_ready in imported.items() if is_ready])
    wakes = [Wake(name) for name in sorted({task.agent_name for task in tasks})]
    return Reply({"imported": len(imported)}, counts={"task_count": len(imported)}, wakes=wakes)


def read_tasks(data: ImportTasks) -> list[Task]:
    """The tasks of an import, their JSON as it was written. Raises `Rejected("invalid")`."""
    try:
        items = _ITEMS.decode(data.tasks.text)
    except msgspec.ValidationError:
        raise invalid("`tasks` is a list of tasks") from None
    if len(items) > MAX_TASKS:
        raise invalid(f"`tasks` holds {len(items)} tasks; import up to {MAX_TASKS} at once")
    tasks = []
    for at, item in enumerate(items):
        task = _task(at, bytes(item))
        if task.session_id != data.session_id:
            raise invalid(f"tasks.{at} is of session {task.session_id!r}, not {data.session_id!r}")
        tasks.append(task)
    return tasks


def _task(at: int, text: bytes) -> Task:
    try:
        fields = slices(text)
    except msgspec.ValidationError:
        raise invalid(f"tasks.{at} is not an object") from None
    value = JsonText(text).value()
    for name in _VERBATIM:
        if fields.get(name, b"null") != b"null":
            value[name] = JsonText(fields[name])
    try:
        task = Task.model_validate(value)
    except ValidationError as error:
        raise invalid_fields(error, f"tasks.{at}") from None
    if task.callback_url is not None and is_shown_target(task.callback_url):
        # As a list shows it: nobody can be called back there.
        return task.model_copy(update={"callback_url": None})
    return task
