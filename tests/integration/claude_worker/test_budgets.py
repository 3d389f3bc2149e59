"""What bounds a bot: budgets of the day, and loops of bots that answer each other."""

from collections.abc import Iterator
from typing import Any

import pytest

from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.rooms import Rooms

BOTS = """
[bots.thrifty]
model = "claude-sonnet-4-5"
[bots.thrifty.budget]
room_turns = 2
warn_at = 0.5

[bots.shared]
model = "claude-sonnet-4-5"
[bots.shared.budget]
tokens = 1000

[bots.ping]
model = "claude-sonnet-4-5"
[bots.pong]
model = "claude-sonnet-4-5"
"""


@pytest.fixture(scope="module")
def rooms(
    amqp_url: str, module_database_url: str, tmp_path_factory: pytest.TempPathFactory, api: MessagesAPI
) -> Iterator[Rooms]:
    """Rooms with one worker."""
    made = Rooms(amqp_url, module_database_url, tmp_path_factory.mktemp("rooms"), api, BOTS)
    made.start()
    yield made
    made.close()


def posts(rooms: Rooms, room: str) -> list[str]:
    """What a room was or is to be told by its chat server, but for answers."""
    rows = rooms.sql(f"select text from chat_posts where room_id = '{room}' order by post_id")
    return [row[0] for row in rows if row[0] != "fine"]


def warned(rooms: Rooms, bot: str) -> list[dict[str, Any]]:
    return [event for event in rooms.events("chat_budget_warned") if event["bot_id"] == bot]


def budget(rooms: Rooms, bot: str, room: str) -> list[dict[str, Any]]:
    (found,) = rooms.send("chat_stats", room_id=room, bot_id=bot)["bots"]
    return list(found["budget"])


def test_a_room_is_warned_then_refused_and_answered_again_on_the_next_day(rooms: Rooms) -> None:
    def say() -> dict[str, Any]:
        return rooms.talk("[[say fine]]", "b1", bot="thrifty", reply_to="there")

    assert say()["answer"] == "fine"
    (event,) = warned(rooms, "thrifty")
    assert (event["limit"], event["usage"]["room_id"], event["usage"]["turns"]) == ("room_turns", "b1", 1)
    assert budget(rooms, "thrifty", "b1") == [{"limit": "room_turns", "most": 2, "used": 1, "left": 1}]
    assert say()["answer"] == "fine"
    for _ in range(2):
        refused = say()
        assert (refused["event"], refused["reason"], refused["attempt"]) == ("chat_dropped", "budget", 0)
    assert posts(rooms, "b1") == [
        "I have used 50% of what I may use in this room today (1 of 2 answers).",
        "I have used up what I may use in this room today (2 of 2 answers), so I don't answer any more. "
        "From midnight (UTC) on I do again.",
    ]
    assert rooms.talk("[[say fine]]", "b2", bot="thrifty")["answer"] == "fine"

    rooms.sql("update chat_usage set day = day - 1")
    assert say()["answer"] == "fine"
    assert len(warned(rooms, "thrifty")) == 3


def test_what_failed_counts_and_a_limit_of_the_bot_holds_in_all_its_rooms(rooms: Rooms) -> None:
    failed = rooms.talk("[[usage input=450 output=50]] [[break 0]]", "b3", bot="shared")
    assert (failed["event"], failed["attempt"]) == ("chat_failed", 2)
    # Both attempts.
    (event,) = warned(rooms, "shared")
    assert (event["limit"], event["usage"]["room_id"], event["usage"]["input_tokens"]) == ("tokens", None, 900)
    assert rooms.talk("[[usage input=90 output=10]] [[say fine]]", "b3", bot="shared")["answer"] == "fine"
    refused = rooms.talk("[[say fine]]", "b4", bot="shared", reply_to="there")
    assert (refused["event"], refused["reason"]) == ("chat_dropped", "budget")
    assert len(posts(rooms, "b4")) == 1
    (limit,) = budget(rooms, "shared", "b4")
    assert limit["used"] >= 1000 and limit["left"] == 0


def test_two_bots_that_answer_each_other_come_to_an_end(rooms: Rooms) -> None:
    async def talk() -> list[str]:
        said = await rooms.said("[[say your turn]]", "loop", bot="ping")
        ends = []
        for bot, by in [("pong", "ping"), ("ping", "pong")] * 4:
            ended = await rooms.ended(said["turn_id"])
            ends.append(ended["reason"] or ended["status"])
            if ended["event"] == "chat_dropped":
                break
            (event,) = [event for event in rooms.events("chat_answered") if event["turn"]["turn_id"] == said["turn_id"]]
            # As a program does that reacts to the event.
            said = await rooms.said("[[say your turn]]", "loop", bot=bot, by=by, hops=event["hops"])
        return ends

    assert rooms.run(talk()) == ["answered"] * 4 + ["loop"]
