"""The composition of the task worker."""

from services.task_worker.handlers import HANDLERS
from services.task_worker.queries import QUERIES
from shared.bus.service import Timer, run_worker
from shared.settings import Settings

NAME = "task_worker"


async def run(settings: Settings) -> None:
    """Run until SIGTERM."""
    await run_worker(
        settings,
        NAME,
        areas=["task", "agent"],
        handlers=HANDLERS,
        queries=QUERIES,
        timers=[Timer("expire_leases", seconds=5)],
    )
