"""Sidebars: opened, told of, inherited from, forked and merged, on a real database."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from services.session_worker.handlers import sidebars
from shared.messages import new_id
from tests.integration.handling import events_of, result_of
from tests.integration.session_worker.conftest import SessionWorker

Sidebar = dict[str, Any]


@pytest.fixture
def session_id(module_worker: SessionWorker) -> Iterator[str]:
    """An open session."""
    session_id = new_id()
    module_worker.do("create_session", session_id=session_id)
    return session_id


def spawn(worker: SessionWorker, session_id: str, *, sender: str = "ada", **fields: Any) -> Sidebar:
    given = {"participants": ["ada", "bob"], "task_description": "Find the flaky test", **fields}
    result = worker.do("spawn_sidebar", session_id=session_id, sender=sender, **given)
    assert "sidebar" in result, result
    sidebar: Sidebar = result["sidebar"]
    return sidebar


def say(worker: SessionWorker, sidebar: Sidebar, *texts: str, sender: str = "ada", **fields: Any) -> None:
    for text in texts:
        result = worker.do("post_to_sidebar", sidebar_id=sidebar["sidebar_id"], text=text, sender=sender, **fields)
        assert "exchange" in result, result


def whole(worker: SessionWorker, sidebar: Sidebar, *, sender: str = "ada", **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = worker.ask("get_sidebar", sidebar_id=sidebar["sidebar_id"], sender=sender, **fields)
    assert "sidebar" in found, found
    return found["sidebar"]  # type: ignore[no-any-return]


def texts(exchanges: list[dict[str, Any]]) -> list[str]:
    return [exchange["text"] for exchange in exchanges]


def inherited(sidebar: dict[str, Any]) -> list[str]:
    return [item["exchange"]["text"] for item in sidebar["inherited_memory"] if item["exchange"]]


def test_a_spawned_sidebar_is_told_with_all_it_has(module_worker: SessionWorker, session_id: str) -> None:
    events = module_worker.events(
        "spawn_sidebar", session_id=session_id, participants=["bob", "bob"], coordinator="ada",
        task_description="Find it", success_criteria="Found", data_refs={"log": 1e2},
    )  # fmt: skip
    (event,) = events
    sidebar = event["sidebar"]
    assert sidebar["participants"] == ["bob", "ada"]
    assert (event["type"], event["parent_id"], event["requested_by"]) == ("sidebar_spawn", session_id, "ada")
    assert (event["session_id"], event["session_seq"], event["sidebar_id"]) == (session_id, 2, sidebar["sidebar_id"])
    assert (sidebar["status"], sidebar["priority"], sidebar["success_criteria"]) == ("active", "normal", "Found")
    kept = whole(module_worker, sidebar)
    assert {name: kept[name] for name in sidebar} == sidebar
    assert [agent["agent_id"] for agent in kept["agent_capabilities"]] == ["bob", "ada"]
    assert [(move["from_status"], move["to_status"], move["by"]) for move in kept["history"]] == [
        (None, "active", "ada")
    ]
    again = module_worker.do(
        "spawn_sidebar", session_id=session_id, sidebar_id=sidebar["sidebar_id"], participants=["ada"],
        task_description="x",
    )  # fmt: skip
    assert again["code"] == "conflict"
