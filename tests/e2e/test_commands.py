"""Commands over HTTP, their events on the socket, their effect in the database."""

from uuid import uuid4

import pytest

from tests.e2e.conftest import Doors
from tests.waiting import eventually


def test_a_session_lives_from_its_creation_to_its_completion(doors: Doors) -> None:
    session_id = f"e2e.{uuid4().hex[:8]}"
    topic = session_id.replace(".", "_")
    with doors.listen(f"session.{topic}.#") as listener:
        doors.command("create_session", session_id=session_id, title="A", participants=["ann", "bob"])
        doors.command("pause_session", session_id=session_id, reason="lunch")
        doors.command("resume_session", session_id=session_id)
        doors.command("conversation_chunk", session_id=session_id, content="Idea: count the events.")
        done = doors.command("complete_session", session_id=session_id)
        events = [listener.next() for _ in range(5)]
    assert done["session"]["status"] == "completed"
    assert [event["type"] for event in events] == [
        "session_created",
        "session_paused",
        "session_resumed",
        "conversation_chunk_added",
        "session_completed",
    ]
    assert [event["session_seq"] for event in events] == [1, 2, 3, 4, 5]
    assert events[1]["session"]["status"] == "paused"
    refused = doors.http.post(
        "/api/commands/store_memory", json={"session_id": session_id, "type": "fact", "content": 1}
    )
    assert refused.status_code == 409
    assert refused.json()["code"] == "conflict"


def test_a_memory_is_stored_versioned_and_found(doors: Doors) -> None:
    session_id = doors.session()
    with doors.listen(f"memory.{session_id}.#") as listener:
        first = doors.command("store_memory", session_id=session_id, type="decision", key="db", content="use sqlite")
        second = doors.command(
            "store_memory", session_id=session_id, type="decision", key="db", content="use postgresql", tags=["db"]
        )
        events = [listener.next(), listener.next()]
    assert (first["memory"]["version"], second["memory"]["version"]) == (1, 2)
    assert [event["exchange"] for event in events] == [first["memory"], second["memory"]]
    assert doors.command("retrieve_memory", session_id=session_id, key="db")["memory"] == second["memory"]
    found = doors.command("query_memories", session_id=session_id, text="postgresql")["memories"]
    assert [memory["key"] for memory in found] == ["db"]
    assert found[0]["rank"] > 0
    assert "<mark>" in found[0]["highlight"]


def test_a_task_goes_from_hand_to_hand(doors: Doors) -> None:
    session_id = doors.session()
    with doors.listen(f"task.{session_id}.#") as listener:
        task = doors.command(
            "delegate_task",
            session_id=session_id,
            agent_name="codex",
            task_type="review",
            input_data={"pr": 7},
            priority=9,
        )["task"]
        claimed = eventually(
            lambda: [
                each
                for each in doors.command("claim_task", agent_name="codex", worker_id="w1", count=50)["tasks"]
                if each["task_id"] == task["task_id"]
            ]
        )[0]
        done = doors.command(
            "complete_task", task_id=task["task_id"], lease_token=claimed["lease_token"], output_data={"ok": True}
        )
        types = [listener.next()["type"] for _ in range(3)]
    assert claimed["input_data"] == {"pr": 7}
    assert done["task"]["status"] == "completed"
    assert types == ["task_created", "task_claimed", "task_completed"]
    late = doors.http.post(
        "/api/commands/complete_task", json={"task_id": task["task_id"], "lease_token": claimed["lease_token"]}
    )
    assert late.status_code == 409


def test_the_same_idempotency_key_happens_once_and_answers_the_same(doors: Doors) -> None:
    session_id = doors.session()
    key = f"key-{uuid4()}"
    body = {"session_id": session_id, "type": "fact", "content": "once"}
    answers = [
        doors.http.post("/api/commands/store_memory", json=body, headers={"Idempotency-Key": key}) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.text for answer in answers}) == 1
    other = doors.http.post(
        "/api/commands/store_memory", json={**body, "content": "twice"}, headers={"Idempotency-Key": key}
    )
    assert other.status_code == 409


def test_a_command_sent_without_waiting_is_found_by_its_id(doors: Doors) -> None:
    session_id = doors.session()
    answer = doors.http.post(
        "/api/commands/store_memory",
        json={"session_id": session_id, "type": "fact", "content": "later"},
        headers={"Prefer": "respond-async"},
    )
    assert answer.status_code == 202
    where = answer.headers["location"]
    done = eventually(lambda: (page := doors.http.get(where).json())["status"] == "done" and page)
    assert done["result"]["memory"]["content"] == "later"
    assert doors.http.get("/api/commands/00000000-0000-4000-8000-000000000000").status_code == 404


def test_a_write_right_behind_its_create_session_is_not_refused(doors: Doors) -> None:
    session_id = f"s-{uuid4()}"
    for name, data in [
        ("create_session", {"session_id": session_id}),
        ("store_memory", {"session_id": session_id, "type": "fact", "key": "k", "content": 1}),
    ]:
        sent = doors.http.post(f"/api/commands/{name}", json=data, headers={"Prefer": "respond-async"})
        assert sent.status_code == 202
    eventually(
        lambda: doors.http.post("/api/commands/retrieve_memory", json={"session_id": session_id, "key": "k"}).is_success
    )


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("store_memory", {"session_id": "nobody", "type": "fact", "content": 1}, 404, "not_found"),
        ("store_memory", {"session_id": "s", "type": "opinion", "content": 1}, 422, "invalid"),
        ("store_memory", {"session_id": "s", "type": "fact"}, 422, "invalid"),
        ("store_memory", {"session_id": "s", "type": "fact", "content": 1, "extra": 1}, 422, "invalid"),
        ("get_session", {"session_id": "nobody"}, 404, "not_found"),
        ("get_session", {"session_id": None}, 422, "invalid"),
        ("no_such_command", {}, 422, "invalid"),
        ("receive_webhook", {}, 422, "invalid"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    doors: Doors, name: str, data: dict[str, object], status: int, code: str
) -> None:
    answer = doors.http.post(f"/api/commands/{name}", json=data)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["trace_id"]


def test_the_session_paths_speak_camel_case(doors: Doors) -> None:
    session_id = f"test-{uuid4().hex[:6]}"
    made = doors.http.post(
        "/api/sessions", json={"sessionId": session_id, "userId": "user-alice", "initial": {"task": "example"}}
    )
    assert made.status_code == 201, made.text
    assert doors.http.get(f"/api/sessions/{session_id}").status_code == 200
    recent = doors.http.get("/api/query/recent").json()
    assert session_id in str(recent)
    doors.command("create_session", session_id=f"{session_id}/a b")
    assert doors.http.get(f"/api/sessions/{session_id}%2Fa%20b").json()["session"]["sessionId"] == f"{session_id}/a b"


def test_the_whole_message_form_runs_a_command(doors: Doors) -> None:
    session_id = doors.session()
    answer = doors.http.post(
        "/api/commands",
        json={
            "command": "store_memory",
            "data": {"session_id": session_id, "type": "fact", "content": "x"},
            "sender_agent_id": "claude_code",
            "priority": "urgent",
        },
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["memory"]["author"] == "claude_code"


def test_a_head_is_answered_like_a_get_without_its_body(doors: Doors) -> None:
    for path in ("/", "/health", "/openapi.json", "/api/query/recent"):
        got, head = doors.http.get(path), doors.http.head(path)
        assert (head.status_code, head.headers["content-type"]) == (200, got.headers["content-type"])
        assert head.content == b""
    assert doors.http.head("/nothing").status_code == 404
