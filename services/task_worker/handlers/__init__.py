"""The task worker's writing commands, and how they share transactions."""

from services.task_worker.callbacks.commands import HANDLERS as CALLBACKS
from services.task_worker.handlers.agents import register_agent
from services.task_worker.handlers.changes import cancel_task, retry_task
from services.task_worker.handlers.claims import AGEING_SECONDS, claim_task
from services.task_worker.handlers.delegation import delegate_task
from services.task_worker.handlers.imports import import_tasks
from services.task_worker.handlers.reports import complete_task, fail_task, heartbeat_task, start_task
from services.task_worker.handlers.timers import expire_leases, run_due_tasks
from services.task_worker.store import changes
from shared.bus.replies import BatchHandler, Handler
from shared.bus.sharing import Sharing
from shared.database import Transaction
from shared.messages import Command

HANDLERS: dict[str, Handler] = {
    **CALLBACKS,
    **{
        handler.__name__: handler
        for handler in (cancel_task, retry_task, import_tasks, expire_leases, run_due_tasks, register_agent)
    },
}


def batch_handlers(ageing_seconds: float = AGEING_SECONDS) -> dict[str, BatchHandler]:
    """The hot commands' handlers; a waiting task's priority goes up by one every `ageing_seconds`."""
    return {
        **{
            handler.__name__: handler
            for handler in (delegate_task, start_task, heartbeat_task, complete_task, fail_task)
        },
        "claim_task": claim_task(ageing_seconds),
    }


BATCH_HANDLERS = batch_handlers()


async def find_sessions(tx: Transaction, commands: list[Command]) -> set[str]:
    """The sessions of commands that name a task."""
    named = [command.data.task_id for command in commands if command.spec.name in _BY_TASK]
    return await changes.find_sessions(tx, named) if named else set()


_BY_TASK = frozenset({"start_task", "heartbeat_task", "complete_task", "fail_task", "cancel_task", "retry_task"})
# Those about one task keep the order in which its holder sends them.
SHARING = Sharing(
    find_sessions=find_sessions,
    gathered=("delegate_task", "start_task", "heartbeat_task", "complete_task", "fail_task"),
    apart=frozenset({"claim_task", "expire_leases", "run_due_tasks"}),
    at_once=200,
)
