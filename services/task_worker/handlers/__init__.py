"""The task worker's writing commands, and how they share transactions."""

from services.task_worker.callbacks.commands import HANDLERS as CALLBACKS
from services.task_worker.handlers.agents import register_agent
from services.task_worker.handlers.changes import cancel_task, retry_task
from services.task_worker.handlers.claims import AGEING_SECONDS, claim_task
from services.task_worker.handlers.controls import ask_agent, control_agent
from services.task_worker.handlers.delegation import delegate_task
from services.task_worker.handlers.imports import import_tasks
from services.task_worker.handlers.output import agent_output
from services.task_worker.handlers.reports import complete_task, fail_task, heartbeat_task, start_task
from services.task_worker.handlers.runs import agent_report, lose_silent_runs
from services.task_worker.handlers.timers import expire_leases, run_due_tasks
from services.task_worker.runs import pacing
from services.task_worker.runs.asking import Asking
from services.task_worker.store import changes, runs
from shared.bus.replies import BatchHandler, Handler
from shared.bus.sharing import Sharing
from shared.database import Transaction
from shared.messages import Command


def handlers(asking: Asking) -> dict[str, Handler]:
    """The handlers of single commands; what control requests ask is told by `asking`."""
    return {
        **CALLBACKS,
        **{
            handler.__name__: handler
            for handler in (
                cancel_task, retry_task, import_tasks, expire_leases, run_due_tasks, register_agent,
                agent_report, ask_agent, lose_silent_runs,
            )
        },
        "control_agent": control_agent(asking),
    }  # fmt: skip


def batch_handlers(
    ageing_seconds: float = AGEING_SECONDS, lines_per_second: float = pacing.LINES_PER_SECOND
) -> dict[str, BatchHandler]:
    """The hot commands' handlers.

    A waiting task's priority goes up by one every `ageing_seconds`; a run brings up to `lines_per_second`.
    """
    return {
        **{
            handler.__name__: handler
            for handler in (delegate_task, start_task, heartbeat_task, complete_task, fail_task)
        },
        "claim_task": claim_task(ageing_seconds),
        "agent_output": agent_output(lines_per_second),
    }


HANDLERS = handlers(Asking())
BATCH_HANDLERS = batch_handlers()


async def find_sessions(tx: Transaction, commands: list[Command]) -> set[str]:
    """The sessions of commands that name a task or a run, or an agent whose run they are about."""
    named = [command.data.task_id for command in commands if command.spec.name in _BY_TASK]
    found = await changes.find_sessions(tx, named) if named else set()
    about_runs = [command.data for command in commands if command.spec.name in _BY_RUN]
    if about_runs:
        run_ids = {data.run_id for data in about_runs if data.run_id is not None}
        found = found | await runs.find_sessions(
            tx,
            sorted(run_ids),
            sorted({data.agent_name for data in about_runs if getattr(data, "run_id", None) is None}),
        )
    return found


_BY_TASK = frozenset({"start_task", "heartbeat_task", "complete_task", "fail_task", "cancel_task", "retry_task"})
_BY_RUN = frozenset({"agent_report", "agent_output", "control_agent", "ask_agent", "record_extractions"})
# Those about one task keep the order in which its holder sends them, and so do those about one run.
SHARING = Sharing(
    find_sessions=find_sessions,
    gathered=("delegate_task", "start_task", "heartbeat_task", "complete_task", "fail_task", "agent_output"),
    apart=frozenset({"claim_task", "expire_leases", "run_due_tasks", "lose_silent_runs"}),
    at_once=200,
)
