"""What a bot remembers: hot, warm on the same and on another replica, and nothing once the chat was reset."""

from tests.integration.claude_worker.rooms import Rooms


def test_a_bot_remembers_hot_then_warm_after_a_restart_and_nothing_after_a_reset(rooms: Rooms) -> None:
    worker = rooms.start()
    first = rooms.talk("my colour is teal [[say noted]]")
    assert (first["event"], first["answer"], first["path"]) == ("chat_answered", "noted", "cold")
    assert first["input_tokens"] > 0 and first["cost_usd"] > 0 and first["connect_ms"] > first["waited_ms"] >= 0

    hot = rooms.talk("[[recall colour]]")
    assert (hot["answer"], hot["path"]) == ("my colour is teal", "hot")

    assert rooms.stop(worker) == 0
    rooms.start()
    warm = rooms.talk("[[recall colour]]")
    assert (warm["answer"], warm["path"]) == ("my colour is teal", "warm")

    reset = rooms.send("reset_chat", room_id="r1", bot_id="helper")
    assert reset["chat"]["conversation"] == 2
    cold = rooms.talk("[[recall colour]]")
    assert (cold["answer"], cold["path"]) == ("I don't remember: colour", "cold")
    assert [event["turn"]["number"] for event in rooms.events("chat_answered")] == [1, 2, 3, 4]
