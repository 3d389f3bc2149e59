"""Every SQL statement of the memory worker, by what it is for."""

from services.memory_worker.store import memories, search

__all__ = ["memories", "search"]
