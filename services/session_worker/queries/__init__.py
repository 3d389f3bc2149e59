"""The reading commands of the session worker, a module for each noun: each sees what is committed.

A module holds its own `QUERIES`; here they become one table.
"""

from services.session_worker.queries import dead_letters, deliveries, event_log, handled, sessions
from shared.bus.queries import QueryHandler

QUERIES: dict[str, QueryHandler] = {
    **sessions.QUERIES,
    **deliveries.QUERIES,
    **event_log.QUERIES,
    **handled.QUERIES,
    **dead_letters.QUERIES,
}
