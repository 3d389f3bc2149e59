"""What bots do with Switchyard's own commands, and who allows it, by the doors their users have."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conftest import Doors
from tests.e2e.test_chat import until
from tests.waiting import eventually


@pytest.fixture
def room() -> str:
    return f"room-{uuid4().hex[:8]}"


def said(doors: Doors, room: str, text: str, *, key: str | None = None) -> dict[str, Any]:
    """The turn that something to `clerk` has become."""
    data = {"room_id": room, "bot_id": "clerk", "user_name": "Grace", "text": text}
    headers = {"X-API-Key": key} if key else {}
    answer = doors.http.post("/api/commands/chat_message", json=data, headers=headers)
    assert answer.status_code == 201, answer.text
    turn: dict[str, Any] = answer.json()["turn"]
    return turn


def test_a_bot_keeps_a_memory_as_itself(doors: Doors, room: str) -> None:
    session = doors.session()
    wanted = {"session_id": session, "type": "decision", "key": "colour", "content": "teal", "tags": ["ui"]}
    with doors.listen(f"memory.{session}.#", f"chat.{room}.clerk.answered") as listener:
        said(doors, room, f"[[tool store_memory {json.dumps(wanted)}]] [[say kept]]")
        updated, answered = until(listener, "chat_answered")
    assert (updated["type"], updated["sender_agent_id"], updated["hops"]) == ("memory_update", "clerk", 1)
    assert updated["trust"] == "trusted" and answered["turn"]["answer"] == "kept"
    memory = doors.command("retrieve_memory", session_id=session, key="colour")["memory"]
    assert (memory["content"], memory["author"]) == ("teal", "clerk")
    (entry,) = doors.command("list_audit", session_id=session, command="store_memory")["entries"]
    assert (entry["agent_id"], entry["outcome"]) == ("clerk", "ok")


def test_an_approver_is_who_a_door_or_an_admins_key_says_he_is(doors: Doors, room: str) -> None:
    with doors.listen(f"chat.{room}.clerk.#") as listener:
        waiting = said(doors, room, "[[tool chat_stats {}]]")
        asked = until(listener, "approval_requested")[-1]["approval"]
        assert asked["tool"] == "chat_stats" and asked["turn_id"] == waiting["turn_id"]

        anybody = doors.command("create_key", name=room, scopes=["publish"])["secret"]
        # The doors hear of a new key a moment later.
        forged = eventually(lambda: said(doors, room, "approve", key=anybody))
        assert forged["status"] == "queued"
        refused = doors.http.post(
            "/api/commands/approve", json={"approval_id": asked["approval_id"]}, headers={"X-API-Key": anybody}
        )
        assert refused.status_code == 403

        word = said(doors, room, "approve")
        assert (word["status"], word["merged_into"]) == ("merged", waiting["turn_id"])
        frames = until(listener, "chat_answered")
    (decided,) = [frame["approval"] for frame in frames if frame["type"] == "approval_decided"]
    assert (decided["status"], decided["decided_by"]) == ("approved", "Grace")
    assert frames[-1]["turn"]["turn_id"] == waiting["turn_id"]
    assert frames[-1]["turn"]["answer"].startswith("chat_stats answered: ")
