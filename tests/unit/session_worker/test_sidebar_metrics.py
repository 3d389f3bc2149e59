"""What the events of sidebars tell Prometheus."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.session_worker.sidebar_metrics import observe
from shared.bus.tail import StreamEvent
from shared.messages import encode

SIDEBAR = {
    "sidebar_id": "sb1", "created": "2026-01-01T12:00:00.000000Z", "participants": ["ana", "ben"], "parent_id": None,
    "forked_from": None, "review_of": None, "exchange_count": 4, "success": None,
}  # fmt: skip


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"switchyard_{name}", labels) or 0.0


def happen(kind: str, sidebar: dict[str, Any] | None = None, **fields: Any) -> None:
    body = {"type": kind, "timestamp": "2026-01-01T13:00:00.000000Z", "sidebar": SIDEBAR | (sidebar or {}), **fields}
    observe([StreamEvent(1, "sidebar.sb1.what", encode(body), "m1")])


@pytest.mark.parametrize(
    ("origin", "sidebar"),
    [("session", {}), ("sidebar", {"parent_id": "sb0"}), ("review", {"review_of": "a key"})],
    ids=["session", "sidebar", "review"],
)
def test_a_sidebar_is_counted_when_it_is_opened(origin: str, sidebar: dict[str, Any]) -> None:
    spawned, inherited = value("sidebars_spawned_total", origin=origin), value("sidebar_inherited_entries_sum")
    members = value("sidebar_participants_sum")
    happen("sidebar_spawn", sidebar, inherited_context=[{"kind": "memory", "id": "a"}, {"kind": "memory", "id": "b"}])
    assert value("sidebars_spawned_total", origin=origin) == spawned + 1
    assert value("sidebar_inherited_entries_sum") == inherited + 2
    assert value("sidebar_participants_sum") == members + 2


def test_a_fork_is_counted_once_though_it_is_told_in_both() -> None:
    before = value("sidebars_spawned_total", origin="fork")
    happen("sidebar_fork", {"sidebar_id": "sb1"}, original_sidebar_id="sb1", new_sidebar_id="sb2")
    happen("sidebar_fork", {"sidebar_id": "sb2"}, original_sidebar_id="sb1", new_sidebar_id="sb2")
    assert value("sidebars_spawned_total", origin="fork") == before + 1


def test_how_long_a_sidebar_lived_is_measured_when_it_ends_and_not_again_when_it_is_put_away() -> None:
    seconds, count = (value(f"sidebar_lifespan_seconds_{part}", outcome="failed") for part in ("sum", "count"))
    archived, said = value("sidebar_lifespan_seconds_count", outcome="archived"), value("sidebar_exchanges_sum")
    happen("sidebar_status_update", old_status="active", new_status="paused")
    happen("sidebar_status_update", old_status="active", new_status="failed")
    happen("sidebar_status_update", old_status="failed", new_status="archived")
    assert value("sidebar_lifespan_seconds_sum", outcome="failed") == seconds + 3600
    assert value("sidebar_lifespan_seconds_count", outcome="failed") == count + 1
    assert value("sidebar_lifespan_seconds_count", outcome="archived") == archived
    assert value("sidebar_exchanges_sum") == said + 4


def test_merges_are_counted_by_their_success() -> None:
    met, missed = (value("sidebar_merges_total", success=success) for success in ("true", "false"))
    happen("sidebar_status_update", {"success": True}, old_status="consolidating", new_status="merged")
    happen("sidebar_status_update", {"success": False}, old_status="consolidating", new_status="merged")
    assert value("sidebar_merges_total", success="true") == met + 1
    assert value("sidebar_merges_total", success="false") == missed + 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"type":"sidebar_spawn"}', b'{"type":"\xff"}'],
    ids=["empty", "cut", "a list", "no sidebar", "bad bytes"],
)
def test_what_is_no_event_of_a_sidebar_is_left_alone(body: bytes) -> None:
    observe([StreamEvent(1, "sidebar.sb1.what", body, ""), StreamEvent(2, "session.s1.what", body, "")])
