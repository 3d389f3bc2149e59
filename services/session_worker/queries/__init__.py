"""The reading commands of the session worker, a module for each noun: each sees what is committed.

A module holds its own `QUERIES`; here they become one table.
"""

from services.session_worker.queries import (
    access,
    actions,
    artifacts,
    dead_letters,
    deliveries,
    event_log,
    handled,
    mentions,
    presences,
    search,
    sessions,
    sidebars,
    states,
    statistics,
    timeline,
    transfer,
)
from shared.bus.queries import QueryHandler

QUERIES: dict[str, QueryHandler] = {
    **sessions.QUERIES,
    **actions.QUERIES,
    **states.QUERIES,
    **artifacts.QUERIES,
    **deliveries.QUERIES,
    **event_log.QUERIES,
    **handled.QUERIES,
    **dead_letters.QUERIES,
    **access.QUERIES,
    **search.QUERIES,
    **timeline.QUERIES,
    **mentions.QUERIES,
    **presences.QUERIES,
    **statistics.QUERIES,
    **transfer.QUERIES,
    **sidebars.QUERIES,
}
