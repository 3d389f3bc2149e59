"""Every SQL statement of the session worker, by what it is about."""

from services.session_worker.store import chunks, dead_letters, deliveries, events, handled, partitions, sessions

__all__ = ["chunks", "dead_letters", "deliveries", "events", "handled", "partitions", "sessions"]
