"""The composition of the memory worker."""

from services.memory_worker.embeddings import Embeddings
from services.memory_worker.handlers import BATCH_HANDLERS, HANDLERS
from services.memory_worker.queries import queries
from services.memory_worker.settings import MemoryWorkerSettings
from services.memory_worker.telling import tell_in_time
from services.memory_worker.vectors import Embedder
from shared.bus.service import Background, run_worker

NAME = "memory_worker"


async def run(settings: MemoryWorkerSettings) -> None:
    """Run until SIGTERM."""
    background: list[Background] = [tell_in_time]
    embedder = None
    if settings.embeddings_url:
        key = settings.embeddings_key.get_secret_value() if settings.embeddings_key else None
        embedder = Embedder(
            Embeddings(
                settings.embeddings_url,
                model=settings.embeddings_model,
                key=key,
                dimensions=settings.embeddings_dimensions,
            )
        )
        background.append(embedder.run)
    await run_worker(
        settings,
        NAME,
        areas=["memory"],
        handlers=HANDLERS,
        batch_handlers=BATCH_HANDLERS,
        queries=queries(embedder),
        background=background,
    )
