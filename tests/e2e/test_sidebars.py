"""Sidebars by the doors their users have: who hears and reads of them, and the review that two writers are sent to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.conftest import Doors, Listener
from tests.waiting import eventually


@pytest.fixture
def key(doors: Doors) -> str:
    """A key that may publish and read, and is no admin's."""
    return made(doors)


def made(doors: Doors) -> str:
    """A new key, once the doors know it."""
    secret: str = doors.command("create_key", name=f"aside-{uuid4().hex[:8]}", scopes=["publish", "read"])["secret"]
    eventually(lambda: run(doors, secret, "ada", "list_sessions").status_code not in (401, 503))
    return secret


@contextmanager
def listening(doors: Doors, key: str, agent: str) -> Iterator[Listener]:
    """An agent's connection, subscribed to everything."""
    answer = doors.http.post("/api/tokens", json={"agent_id": agent, "kind": "agent"}, headers={"X-API-Key": key})
    with connect(
        doors.gateway_url,
        subprotocols=["switchyard.v1"],  # type: ignore[list-item]
        additional_headers={"Authorization": f"Bearer {answer.json()['token']}"},
    ) as socket:
        listener = Listener(socket)
        listener.subscribe("sidebar.#", "agent.#")
        yield listener


def run(doors: Doors, key: str, agent: str, name: str, /, **data: Any) -> httpx.Response:
    return doors.http.post(f"/api/commands/{name}", json=data, headers={"X-API-Key": key, "X-Agent-Id": agent})


def heard(listener: Listener, *types: str) -> list[dict[str, Any]]:
    """The next frames of these types, in this order; presence may come between."""
    frames = []
    for wanted in types:
        while (frame := listener.next())["type"] == "agent_presence":
            pass
        assert frame["type"] == wanted, frame
        frames.append(frame)
    return frames


def test_a_sidebar_is_heard_and_read_by_those_who_take_part_in_it(doors: Doors, key: str) -> None:
    session = doors.session()
    ada, eve = f"ada-{uuid4().hex[:6]}", f"eve-{uuid4().hex[:6]}"
    with listening(doors, key, ada) as inside, listening(doors, key, eve) as outside:
        spawned = run(
            doors, key, ada, "spawn_sidebar", session_id=session, participants=[ada, "bob"], task_description="Why?"
        )
        assert spawned.status_code == 201, spawned.text
        sidebar_id = spawned.json()["sidebar"]["sidebar_id"]
        said = run(doors, key, "bob", "post_to_sidebar", sidebar_id=sidebar_id, text=f"@{ada} look")
        assert said.status_code == 201, said.text
        frames = heard(inside, "sidebar_spawn", "sidebar_exchange", "mention_route")
        assert frames[1]["exchange"] == said.json()["exchange"]
        assert run(doors, key, eve, "mention", target_agents=[eve], message="of another matter").status_code == 201
        assert heard(outside, "mention_route")[0]["message"] == "of another matter"
    assert run(doors, key, ada, "post_to_sidebar", sidebar_id="none", text="x").status_code == 404
    assert run(doors, key, eve, "get_sidebar", sidebar_id=sidebar_id).status_code == 403
    assert run(doors, key, eve, "post_to_sidebar", sidebar_id=sidebar_id, text="x").status_code == 403
    assert run(doors, key, eve, "list_sidebars", session_id=session).json() == {"sidebars": [], "next": None}
    shown = run(doors, key, ada, "get_sidebar", sidebar_id=sidebar_id).json()["sidebar"]
    assert [exchange["author"] for exchange in shown["local_memory"]] == ["bob"]

    def types(agent: str) -> list[str]:
        page = run(doors, key, agent, "get_timeline", session_id=session).json()
        return [entry["type"] for entry in page["entries"]]

    assert types(eve) == ["session_created"]
    assert types(ada) == ["session_created", "sidebar_spawn", "sidebar_exchange", "mention_route"]


def test_what_a_sidebar_was_told_is_repeated_to_the_key_that_sent_it_alone(doors: Doors, key: str) -> None:
    other = made(doors)
    sidebar = doors.command("spawn_sidebar", session_id=doors.session(), participants=["ada"], task_description="Why?")[
        "sidebar"
    ]
    message_id = str(uuid4())
    said = doors.http.post(
        "/api/commands/post_to_sidebar",
        json={"sidebar_id": sidebar["sidebar_id"], "text": "in confidence"},
        headers={"X-API-Key": key, "X-Agent-Id": "ada", "Idempotency-Key": message_id},
    )
    assert said.status_code == 201, said.text
    for asker, status in ((key, 200), (other, 403)):
        answer = doors.http.get(f"/api/commands/{message_id}", headers={"X-API-Key": asker})
        assert (answer.status_code, "in confidence" in answer.text) == (status, status == 200)


def test_two_who_write_one_memory_at_once_review_both_versions_and_merge_once(doors: Doors, key: str) -> None:
    session = doors.session()
    for agent in ("ada", "bob", "ada"):
        stored = run(doors, key, agent, "store_memory", session_id=session, type="fact", key="plan", content=agent)
        assert stored.status_code in (200, 201), stored.text

    def reviews() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = run(doors, key, "ada", "list_sidebars", session_id=session).json()["sidebars"]
        return [each for each in found if each["review_of"] == "plan"]

    eventually(
        lambda: [each["exchange_count"] for each in reviews()] == [1], because="the second review joins the first"
    )
    (review,) = reviews()
    assert sorted(review["participants"]) == ["ada", "bob"]
    assert sorted(review["data_refs"]) == ["plan@1", "plan@2", "plan@3"]
    for version in (1, 2):
        history = doors.command("memory_history", session_id=session, key="plan")["versions"]
        assert any(each["version"] == version for each in history)
    merged = [
        run(doors, key, agent, "merge_sidebar", sidebar_id=review["sidebar_id"], findings="as bob says")
        for agent in ("bob", "ada")
    ]
    assert [answer.status_code for answer in merged] == [200, 409]
    (hit,) = doors.command("search", q="bob says", session_id=session, kinds=["artifact"])["hits"]
    assert hit["id"] == merged[0].json()["merged"]["artifact_id"]
