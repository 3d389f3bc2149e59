"""What Prometheus reads of the sidebars, from their events as they are recorded: one recorder counts each, once."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from prometheus_client import Counter, Histogram

from shared.bus.tail import StreamEvent

SPAWNED = Counter(
    "switchyard_sidebars_spawned_total", "Sidebars opened, by what they hang under or come from", ["origin"]
)
ENDED = Histogram(
    "switchyard_sidebar_lifespan_seconds", "From a sidebar's opening until nothing could be written to it any more",
    ["outcome"], buckets=(10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 72 * 3600, 7 * 24 * 3600),
)  # fmt: skip
INHERITED = Histogram(
    "switchyard_sidebar_inherited_entries", "Pieces of context a sidebar knew when it was opened",
    buckets=(0, 1, 5, 10, 25, 50, 100, 250, 500, 1000),
)  # fmt: skip
MERGES = Counter("switchyard_sidebar_merges_total", "Sidebars merged, by whether their criteria were met", ["success"])
PARTICIPANTS = Histogram(
    "switchyard_sidebar_participants", "Agents that take part in a sidebar when it is opened",
    buckets=(1, 2, 3, 5, 10, 20, 50, 100),
)  # fmt: skip
EXCHANGES = Histogram(
    "switchyard_sidebar_exchanges", "What was said in a sidebar by the time it ended",
    buckets=(0, 1, 5, 10, 25, 50, 100, 250, 500, 1000),
)  # fmt: skip

_CLOSED = frozenset({"merged", "archived", "failed"})
for _origin in ("session", "sidebar", "fork", "review"):
    SPAWNED.labels(_origin)
for _outcome in _CLOSED:
    ENDED.labels(_outcome)
for _success in ("true", "false"):
    MERGES.labels(_success)


class _Sidebar(msgspec.Struct):
    sidebar_id: str
    created: datetime
    participants: list[str]
    parent_id: str | None = None
    review_of: str | None = None
    exchange_count: int = 0
    success: bool | None = None


class _Event(msgspec.Struct):
    type: str
    timestamp: datetime
    sidebar: _Sidebar
    new_sidebar_id: str | None = None
    inherited_context: list[Any] = []
    old_status: str = ""
    new_status: str = ""


_EVENT = msgspec.json.Decoder(_Event)


def observe(events: Iterable[StreamEvent]) -> None:
    """Count what these events tell of sidebars; whatever else there is among them is left alone."""
    for event in events:
        if event.routing_key.startswith("sidebar."):
            try:
                _count(_EVENT.decode(event.body))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # some program's own, under a topic of ours


def _count(event: _Event) -> None:
    sidebar = event.sidebar
    if event.type == "sidebar_spawn":
        SPAWNED.labels("review" if sidebar.review_of else "sidebar" if sidebar.parent_id else "session").inc()
        INHERITED.observe(len(event.inherited_context))
        PARTICIPANTS.observe(len(sidebar.participants))
    elif event.type == "sidebar_fork" and event.new_sidebar_id == sidebar.sidebar_id:  # told in its origin as well
        SPAWNED.labels("fork").inc()
        PARTICIPANTS.observe(len(sidebar.participants))
    elif event.type == "sidebar_status_update" and event.new_status in _CLOSED and event.old_status not in _CLOSED:
        ENDED.labels(event.new_status).observe(max(0.0, (event.timestamp - sidebar.created).total_seconds()))
        EXCHANGES.observe(sidebar.exchange_count)
        if event.new_status == "merged":
            MERGES.labels("true" if sidebar.success else "false").inc()
