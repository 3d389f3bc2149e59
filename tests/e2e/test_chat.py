"""Bots by the doors their users have: a message over HTTP, its answer over the WebSocket."""

from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conftest import Doors, Listener
from tests.waiting import eventually


@pytest.fixture
def room() -> str:
    return f"room-{uuid4().hex[:8]}"


def said(doors: Doors, room: str, text: str, **more: Any) -> dict[str, Any]:
    """The turn a message has become."""
    data = {"room_id": room, "bot_id": "assistant", "user_name": "Ada", "text": text}
    turn: dict[str, Any] = doors.command("chat_message", **{**data, **more})["turn"]
    return turn


def until(listener: Listener, wanted: str) -> list[dict[str, Any]]:
    """The frames up to one of this type."""
    frames = [listener.next(40)]
    while frames[-1]["type"] != wanted:
        frames.append(listener.next(40))
    return frames


def test_what_is_said_over_http_is_answered_over_the_websocket_piece_by_piece_and_remembered(
    doors: Doors, room: str
) -> None:
    with doors.listen(f"chat.{room}.assistant.#") as listener:
        turn = said(doors, room, "my colour is teal [[long 600]] [[pace 0.1]]")
        assert (turn["status"], turn["number"]) == ("queued", 1)
        frames = until(listener, "chat_answered")

        assert [frame["type"] for frame in frames[:2]] == ["chat_queued", "chat_started"]
        deltas = [frame for frame in frames if frame["type"] == "chat_delta"]
        answered = frames[-1]
        assert len(deltas) > 1 and "".join(delta["text"] for delta in deltas) == answered["turn"]["answer"]
        assert len(answered["turn"]["answer"]) == 600 and answered["turn"]["path"] == "cold"
        assert answered["correlation_id"] == frames[0]["correlation_id"] and answered["hops"] == 1

        said(doors, room, "[[recall colour]]")
        hot = until(listener, "chat_answered")[-1]["turn"]
        assert (hot["answer"], hot["path"]) == ("my colour is teal", "hot")

        doors.command("reset_chat", room_id=room, bot_id="assistant")
        until(listener, "chat_reset")
        said(doors, room, "[[recall colour]]")
        assert until(listener, "chat_answered")[-1]["turn"]["answer"] == "I don't remember: colour"

    listed = doors.command("list_turns", room_id=room, limit=2)
    assert [turn["number"] for turn in listed["turns"]] == [3, 2]
    rest = doors.command("list_turns", room_id=room, limit=2, cursor=listed["next"])
    assert [turn["number"] for turn in rest["turns"]] == [1] and rest["next"] is None


def test_a_bot_that_is_not_declared_is_refused_with_those_that_are(doors: Doors, room: str) -> None:
    answer = doors.http.post(
        "/api/commands/chat_message", json={"room_id": room, "bot_id": "nobody", "user_name": "Ada", "text": "hello"}
    )
    assert answer.status_code == 404 and "assistant" in answer.json()["detail"]


def test_the_same_message_twice_is_one_turn(doors: Doors, room: str) -> None:
    headers, data = {"Idempotency-Key": uuid4().hex}, {"room_id": room, "bot_id": "assistant", "user_name": "Ada"}
    answers = [
        doors.http.post("/api/commands/chat_message", json={**data, "text": "[[say hi]]"}, headers=headers).json()
        for _ in range(2)
    ]
    assert answers[0]["turn"]["turn_id"] == answers[1]["turn"]["turn_id"]


def test_a_bot_does_not_answer_itself_and_says_so(doors: Doors, room: str) -> None:
    turn = said(doors, room, "an echo", user_name="assistant")
    assert (turn["status"], turn["reason"]) == ("dropped", "own_message")


def test_a_message_to_a_bot_has_no_place_in_a_batch(doors: Doors) -> None:
    answer = doors.http.post("/api/commands/batch", json={"commands": [{"command": "chat_stats", "data": {}}]})
    assert answer.status_code == 422 and "can't be part of a batch" in answer.json()["detail"]


def test_the_pool_says_what_it_holds(doors: Doors, room: str) -> None:
    with doors.listen(f"chat.{room}.assistant.#") as listener:
        said(doors, room, "[[say hi]]")
        until(listener, "chat_answered")
    stats = doors.command("chat_stats")
    assert [len(worker["partitions"]) for worker in stats["workers"]] == [16]
    assert [worker["obstacle"] for worker in stats["workers"]] == [None]
    assert stats["pool"]["max_clients"] == 20 and stats["queue"]["queued"] >= 0

    def idle() -> list[Any]:
        sessions = doors.http.get("/session/stats", params={"room_id": room}).json()["sessions"]
        return [session for session in sessions if not session["busy"]]

    # Workers tell of themselves every 2 s.
    (session,) = eventually(idle, because="the room's client in /session/stats")
    assert (session["room_id"], session["bot_id"]) == (room, "assistant")
    bots = doors.http.get("/session/stats", params={"room_id": room}).json()["bots"]
    (bot,) = [each for each in bots if each["bot_id"] == "assistant"]
    assert bot["on"] and bot["today"]["turns"] == 1
    queue = doors.http.get("/queue/stats", params={"room_id": room}).json()
    assert queue["chats"] == [] and queue["today"]["turns"] == 1


def test_a_conversation_is_reset_by_its_path_for_whoever_may(doors: Doors, room: str) -> None:
    said(doors, f"{room}/a", "[[say hi]]")
    answer = doors.http.post(f"/api/chat/{room}%2Fa/assistant/reset")
    assert answer.status_code == 200 and answer.json()["chat"]["room_id"] == f"{room}/a"
    assert answer.json()["chat"]["conversation"] == 2
    assert doors.http.post(f"/api/chat/{room}/nobody/reset").status_code == 404
    reader = doors.command("create_key", name=room, scopes=["read"])["secret"]
    eventually(lambda: doors.http.get("/queue/stats", headers={"X-API-Key": reader}).status_code == 200, 1)
    for method, path, statuses in (
        ("POST", f"/api/chat/{room}/assistant/reset", (401, 403)),
        ("GET", "/session/stats", (401, 200)),
        ("GET", "/queue/stats", (401, 200)),
    ):
        keys = ("sy_wrong", reader)
        assert (
            tuple(doors.http.request(method, path, headers={"X-API-Key": key}).status_code for key in keys) == statuses
        )
