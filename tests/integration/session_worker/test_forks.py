"""Sessions that take over the state another one had at some point of its replay."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.messages import encode
from tests.integration.session_worker.conftest import SessionWorker


@pytest.fixture
def origin(module_worker: SessionWorker) -> str:
    """A session with five events, which are recorded: its state was patched by the second, the third and the last."""
    session_id: str = module_worker.do("create_session", initial={"phase": "plan", "goals": "none of ours"})["session"][
        "session_id"
    ]
    events: list[dict[str, Any]] = []
    for name, data in [
        ("update_state", {"patch": {"phase": "build", "big": 12345678901234567890}}),
        ("update_state", {"patch": {"done": ["a"]}}),
        ("add_goal", {"description": "ship it"}),
        ("update_state", {"patch": {"phase": "ship"}}),
    ]:
        events += module_worker.events(name, session_id=session_id, **data)
    record(module_worker, session_id, [{"type": "session_created", "session_seq": 1}, *events])
    return session_id


def record(worker: SessionWorker, session_id: str, events: list[dict[str, Any]]) -> None:
    """Write events as the recorder does."""
    for event in events:
        worker.sql(
            """
            insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
            select coalesce(max(cursor), 0) + 1, :at, :message_id, :kind, 'session.x', :session_id, :seq, :body
            from events
            """,
            at=datetime.fromisoformat(event["timestamp"]) if "timestamp" in event else datetime.now(UTC),
            message_id=f"{session_id}-{event['session_seq']}",
            kind=event["type"],
            session_id=session_id,
            seq=event["session_seq"],
            body=encode(event).decode(),
        )


def state_of(worker: SessionWorker, session_id: str) -> dict[str, Any]:
    state: dict[str, Any] = worker.ask("get_state", session_id=session_id)["state"]
    assert (state.pop("session_id"), state.pop("goals"), state.pop("agents")) == (session_id, [], [])
    return state


@pytest.mark.parametrize(
    ("seq", "state"),
    [
        (0, {"phase": "plan"}),
        (1, {"phase": "plan"}),
        (2, {"phase": "build", "big": 12345678901234567890}),
        (4, {"phase": "build", "big": 12345678901234567890, "done": ["a"]}),
        (5, {"phase": "ship", "big": 12345678901234567890, "done": ["a"]}),
        (None, {"phase": "ship", "big": 12345678901234567890, "done": ["a"]}),
    ],
)
def test_a_fork_begins_with_the_state_of_then_and_goes_its_own_way(
    module_worker: SessionWorker, origin: str, seq: int | None, state: dict[str, Any]
) -> None:
    at = {} if seq is None else {"fork_seq": seq}
    fork = module_worker.do("create_session", fork_of=origin, **at)["session"]["session_id"]

    assert state_of(module_worker, fork) == state
    module_worker.do("update_state", session_id=fork, patch={"phase": "other"})
    assert module_worker.ask("get_state", session_id=origin)["state"]["phase"] == "ship"
    (row,) = module_worker.sql("select reason from session_transitions where session_id = :id", id=fork)
    assert row.reason == f"forked from {origin}" + ("" if seq is None else f" at {seq}")


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"fork_of": "no-such-session"}, "not_found"),
        ({"fork_seq": 6}, "conflict"),
        ({"initial": {}}, "invalid"),
        ({"fork_of": None, "fork_seq": 1}, "invalid"),
    ],
)
def test_a_fork_of_what_is_not_there_is_refused(
    module_worker: SessionWorker, origin: str, asked: dict[str, Any], code: str
) -> None:
    assert module_worker.do("create_session", **{"fork_of": origin, **asked})["code"] == code


def test_a_state_whose_events_are_gone_is_not_guessed(module_worker: SessionWorker, origin: str) -> None:
    module_worker.sql("delete from events where session_id = :id and session_seq < 3", id=origin)

    assert module_worker.do("create_session", fork_of=origin, fork_seq=2)["code"] == "conflict"
    assert "session" in module_worker.do("create_session", fork_of=origin, fork_seq=3)


def test_a_sidebar_begins_with_the_memories_of_then(module_worker: SessionWorker) -> None:
    session_id = module_worker.do("create_session")["session"]["session_id"]
    for key, content in [("a", 1), ("b", 1), ("c", 1), ("d", 1)]:
        stored = {"session_id": session_id, "type": "fact", "key": key, "content": content}
        record(
            module_worker,
            session_id,
            module_worker.events("batch", commands=[{"command": "store_memory", "data": stored}]),
        )

    def inherited(**at: int) -> list[tuple[str, Any]]:
        asked = {"session_id": session_id, "participants": ["ada"], "task_description": "look"}
        sidebar = module_worker.do("spawn_sidebar", **asked, **at)["sidebar"]["sidebar_id"]
        whole = module_worker.ask("get_sidebar", sidebar_id=sidebar)["sidebar"]
        memories = [item["memory"] for item in whole["inherited_memory"]]
        return sorted((memory["key"], memory["content"]) for memory in memories)

    stored = {"session_id": session_id, "type": "fact", "key": "a", "content": 2}
    module_worker.do("batch", commands=[{"command": "store_memory", "data": stored}])
    assert inherited() == [("a", 2), ("b", 1), ("c", 1), ("d", 1)]
    assert inherited(at_seq=3) == [("a", 1), ("b", 1)]
    assert inherited(at_seq=4) == [("a", 1), ("b", 1), ("c", 1)]
    refused = module_worker.do(
        "spawn_sidebar", session_id=session_id, participants=["ada"], task_description="look", at_seq=999
    )
    assert refused["code"] == "conflict"
