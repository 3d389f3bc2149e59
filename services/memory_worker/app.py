"""The memory worker put together."""

from services.memory_worker.handlers import store_memories
from services.memory_worker.queries import query_memories, retrieve_memory
from shared.bus.service import run_worker
from shared.settings import Settings


async def run(settings: Settings) -> None:
    """Run until SIGTERM."""
    await run_worker(
        settings,
        "memory_worker",
        areas=["memory"],
        handlers={},
        batch_handlers={"store_memory": store_memories},
        queries={"retrieve_memory": retrieve_memory, "query_memories": query_memories},
    )
