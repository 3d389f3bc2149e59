"""Every SQL statement of the memory worker, by what it is for."""

from services.memory_worker.store import activity, forgetting, memories, search, tellings, vectors

__all__ = ["activity", "forgetting", "memories", "search", "tellings", "vectors"]
