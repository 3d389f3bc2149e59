"""The memory worker without a broker."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.memory_worker.handlers import BATCH_HANDLERS, HANDLERS
from services.memory_worker.queries import QUERIES
from shared.bus.commit import Outcome
from tests.integration.handling import Handling, result_of


class MemoryWorker(Handling):
    """Stores and asks."""

    handlers = HANDLERS
    batch_handlers = BATCH_HANDLERS
    queries = QUERIES

    def open_sessions(self, *ids: str) -> None:
        self.sql("insert into sessions (id) select unnest(cast(:ids as text[]))", ids=list(ids))

    async def write(self, *data: dict[str, Any] | str, sender: str = "ada") -> list[Outcome]:
        """Store a batch."""
        return await self.commit(*(self.command("store_memory", each, sender=sender) for each in data))

    def store(self, *data: dict[str, Any] | str, sender: str = "ada") -> list[dict[str, Any]]:
        """Store a batch; the memory of each reply, or its error."""
        results = [result_of(outcome) for outcome in self.run(self.write(*data, sender=sender))]
        return [result.get("memory", result) for result in results]


@pytest.fixture
def worker(module_worker: MemoryWorker) -> MemoryWorker:
    """A memory worker with the sessions s1 and s2, and nothing in them."""
    module_worker.sql("delete from sessions")
    module_worker.sql("delete from handled_messages")
    module_worker.sql("drop table if exists memory_embeddings")
    module_worker.__dict__.pop("queries", None)
    module_worker.open_sessions("s1", "s2")
    return module_worker


@pytest.fixture(scope="module")
def module_worker(module_database_url: str) -> Iterator[MemoryWorker]:
    """A memory worker on one database for the module."""
    worker = MemoryWorker(module_database_url)
    yield worker
    worker.close()
