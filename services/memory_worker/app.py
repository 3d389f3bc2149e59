"""The composition of the memory worker."""

from services.memory_worker.handlers import BATCH_HANDLERS
from services.memory_worker.queries import QUERIES
from shared.bus.service import run_worker
from shared.settings import Settings

NAME = "memory_worker"


async def run(settings: Settings) -> None:
    """Run until SIGTERM."""
    await run_worker(settings, NAME, areas=["memory"], handlers={}, batch_handlers=BATCH_HANDLERS, queries=QUERIES)
