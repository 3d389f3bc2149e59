"""The task worker put together."""

from services.task_worker.handlers import claim_task, complete_task, delegate_task, expire_leases
from services.task_worker.queries import get_task, list_tasks
from shared.bus.service import Timer, run_worker
from shared.settings import Settings


async def run(settings: Settings) -> None:
    """Run until SIGTERM."""
    await run_worker(
        settings,
        "task_worker",
        areas=["task"],
        handlers={
            "delegate_task": delegate_task,
            "claim_task": claim_task,
            "complete_task": complete_task,
            "expire_leases": expire_leases,
        },
        queries={"get_task": get_task, "list_tasks": list_tasks},
        timers=[Timer("expire_leases", seconds=5)],
    )
