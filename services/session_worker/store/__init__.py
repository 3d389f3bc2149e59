"""Every SQL statement of the session worker, by what it is about."""

from services.session_worker.store import (
    actions,
    agents,
    artifacts,
    audit,
    chunks,
    dead_letters,
    deliveries,
    events,
    goals,
    handled,
    keys,
    live,
    mentions,
    partitions,
    sessions,
    states,
)

__all__ = [
    "actions",
    "agents",
    "artifacts",
    "audit",
    "chunks",
    "dead_letters",
    "deliveries",
    "events",
    "goals",
    "handled",
    "keys",
    "live",
    "mentions",
    "partitions",
    "sessions",
    "states",
]
