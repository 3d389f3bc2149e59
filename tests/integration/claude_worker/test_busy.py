"""What a bot does with what is said while it answers: put in a row, instead of that, into that, or not at all."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import psycopg
import pytest

from shared.messages.partitions import partition_of
from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.rooms import Rooms, clients_of
from tests.waiting import eventually, eventually_async

BOTS = """
[bots.helper]
model = "claude-sonnet-4-5"

[bots.eager]
model = "claude-sonnet-4-5"
busy = "interrupt"

[bots.open]
model = "claude-sonnet-4-5"
busy = "steer"
allowed_tools = ["chat_message"]
ask_tools = ["set_chat"]

[bots.single]
model = "claude-sonnet-4-5"
busy = "reject"
"""
# A room whose bot can't be talked to while a test holds it; its partition is no other's of this module.
HELD = "held back"
assert partition_of(HELD, "helper") not in {
    partition_of(room, "open") for room in ("s-tool", "s-text", "s-end", "s-park", "s-gone")
}


@pytest.fixture(scope="module")
def rooms(
    amqp_url: str, module_database_url: str, tmp_path_factory: pytest.TempPathFactory, api: MessagesAPI
) -> Iterator[Rooms]:
    """Rooms with one worker."""
    made = Rooms(amqp_url, module_database_url, tmp_path_factory.mktemp("rooms"), api, BOTS)
    made.start()
    yield made
    made.close()


@contextmanager
def held(rooms: Rooms) -> Iterator[None]:
    """As long as it lasts, a tool that says something to the helper in the room HELD is under way."""
    rooms.talk("[[say hi]]", HELD)
    with psycopg.connect(rooms.database_url) as connection:
        connection.execute("select from chats where room_id = %s for update", [HELD])
        yield


async def asked(rooms: Rooms, text: str, times: int = 1) -> None:
    """Wait until Claude was asked something."""

    async def look() -> bool:
        return sum(text in each.prompt for each in rooms.api.requests) >= times

    await eventually_async(look, 30, because=f"Claude is asked: {text}")


def prompts(rooms: Rooms, holding: str) -> list[str]:
    """What the user has said in the latest conversation that has this in its last message."""
    return [each.prompts for each in rooms.api.requests if holding in each.prompt][-1]


def posts(rooms: Rooms, room: str) -> list[str]:
    """What a room was or is to be told by its chat server."""
    return [row[0] for row in rooms.sql(f"select text from chat_posts where room_id = '{room}' order by post_id")]


def test_a_newer_message_interrupts_gets_its_own_answer_and_knows_of_the_one_before(rooms: Rooms) -> None:
    rooms.talk("[[say hi]]", "r-int", bot="eager")

    async def both() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        first = await rooms.said("my colour is teal [[say noted]] [[wait 20]]", "r-int", bot="eager")
        await asked(rooms, "my colour is teal")
        second = await rooms.said("[[recall colour]]", "r-int", bot="eager")
        return await rooms.ended(first["turn_id"], 10), await rooms.ended(second["turn_id"], 10), second

    first, second, _ = rooms.run(both())
    assert (first["event"], first["reason"], first["answer"]) == ("chat_dropped", "interrupted", None)
    assert (second["event"], second["answer"], second["path"]) == ("chat_answered", "my colour is teal", "hot")
    assert rooms.talk("[[say third]]", "r-int", bot="eager")["answer"] == "third"


def test_of_many_messages_that_interrupt_each_other_the_newest_is_answered(rooms: Rooms) -> None:
    async def burst() -> list[dict[str, Any]]:
        said = [await rooms.said(f"[[say number {number}]] [[wait 1]]", "r-many", bot="eager") for number in range(6)]
        return [await rooms.ended(turn["turn_id"], 15) for turn in said]

    *older, newest = rooms.run(burst())
    assert {(turn["status"], turn["reason"]) for turn in older} == {("dropped", "interrupted")}
    assert (newest["status"], newest["answer"]) == ("answered", "number 5")


def test_what_is_said_during_a_tool_is_answered_with_what_it_is_at(rooms: Rooms) -> None:
    data = {"room_id": HELD, "bot_id": "helper", "user_name": "Open", "text": "[[say fine]]"}

    async def steer() -> list[dict[str, Any]]:
        first = await rooms.said(
            f"look it up [[tool chat_message {orjson.dumps(data).decode()}]]", "s-tool", bot="open"
        )
        await asked(rooms, "look it up")
        others = [
            await rooms.said(f"and also {name} [[say {name}]]", "s-tool", bot="open") for name in ("this", "that")
        ]

        async def handed_in() -> bool:
            told = "select count(*) from chats as c join turns as t using (room_id, bot_id) where t.status = 'queued'"
            return bool(rooms.sql(told))

        await eventually_async(handed_in, 5)
        # Long enough for both to be with the client, which says nothing of it.
        await asyncio.sleep(0.5)
        return [first, *others]

    with held(rooms):
        said = rooms.run(steer())
    first, this, that = (rooms.run(rooms.ended(turn["turn_id"], 20)) for turn in said)
    assert (first["event"], first["answer"]) == ("chat_answered", "that")
    assert {(turn["event"], turn["merged_into"]) for turn in (this, that)} == {("chat_merged", first["turn_id"])}
    # Nobody is asked twice, and what was merged is remembered.
    again = rooms.talk("[[recall also]]", "s-tool", bot="open")
    assert (again["answer"], again["path"]) == ("and also that", "hot")
    heard = prompts(rooms, "recall also")
    assert [sum(text in prompt for prompt in heard) for text in ("look it up", "also this", "also that")] == [1, 1, 1]


def test_what_is_said_while_the_client_connects_is_handed_in_as_well(rooms: Rooms) -> None:
    data = {"room_id": HELD, "bot_id": "helper", "user_name": "Open", "text": "[[say fine]]"}

    async def steer() -> list[dict[str, Any]]:
        first = await rooms.said(
            f"look up early [[tool chat_message {orjson.dumps(data).decode()}]]", "s-early", bot="open"
        )
        second = await rooms.said("and also soon [[say soon]]", "s-early", bot="open")
        await asked(rooms, "look up early")
        # Long enough for it to be with the client, which says nothing of it.
        await asyncio.sleep(0.8)
        return [first, second]

    with held(rooms):
        said = rooms.run(steer())
    first, second = (rooms.run(rooms.ended(turn["turn_id"], 20)) for turn in said)
    assert (first["event"], first["answer"]) == ("chat_answered", "soon")
    assert (second["event"], second["merged_into"]) == ("chat_merged", first["turn_id"])


@pytest.mark.parametrize("ends", ["approved", "dropped"])
def test_what_is_said_during_a_tool_and_asks_for_another_ends_as_that_does(rooms: Rooms, ends: str) -> None:
    room = {"approved": "s-park", "dropped": "s-gone"}[ends]
    tool = {"room_id": HELD, "bot_id": "helper", "user_name": "Open", "text": "[[say fine]]"}
    wanted = {"room_id": "elsewhere", "bot_id": "helper", "idle_minutes": 5}

    async def steer() -> list[dict[str, Any]]:
        first = await rooms.said(
            f"look up {room} [[tool chat_message {orjson.dumps(tool).decode()}]]", room, bot="open"
        )
        await asked(rooms, f"look up {room}")
        second = await rooms.said(f"then set it [[tool set_chat {orjson.dumps(wanted).decode()}]]", room, bot="open")
        # Long enough for it to be with the client, which says nothing of it.
        await asyncio.sleep(0.7)
        return [first, second]

    async def approval() -> dict[str, Any] | None:
        found = [event["approval"] for event in rooms.events("approval_requested") if event["room_id"] == room]
        return found[0] if found else None

    with held(rooms):
        first, second = rooms.run(steer())
    waiting = rooms.run(eventually_async(approval, 20))
    assert waiting is not None
    if ends == "dropped":
        rooms.send("reset_chat", room_id=room, bot_id="open")
    else:
        rooms.send("approve", approval_id=waiting["approval_id"])
    one, other = (rooms.run(rooms.ended(turn["turn_id"], 30)) for turn in (first, second))
    if ends == "dropped":
        # Neither was answered, so neither is said to be.
        assert {(turn["status"], turn["reason"], turn["merged_into"]) for turn in (one, other)} == {
            ("dropped", "reset", None)
        }
    else:
        assert one["answer"].startswith("set_chat answered: ")
        assert (other["event"], other["merged_into"]) == ("chat_merged", first["turn_id"])
        assert rooms.talk("[[recall set]]", room, bot="open")["answer"].startswith("then set it")
        assert sum("then set it" in prompt for prompt in prompts(rooms, "recall set")) == 1


def test_what_is_said_while_text_streams_is_answered_after_it_on_the_same_client(rooms: Rooms) -> None:
    async def steer() -> list[dict[str, Any]]:
        first = await rooms.said(
            "[[say a first answer that takes its time to come]] [[pace 0.5]]", "s-text", bot="open"
        )
        await asked(rooms, "a first answer")
        second = await rooms.said("my colour is teal [[say second]]", "s-text", bot="open")
        return [await rooms.ended(turn["turn_id"], 20) for turn in (first, second)]

    first, second = rooms.run(steer())
    assert (first["event"], first["answer"][:7]) == ("chat_answered", "a first")
    assert (second["event"], second["answer"], second["path"]) == ("chat_answered", "second", "hot")
    assert sum("teal" in prompt for prompt in prompts(rooms, "my colour is teal")) == 1
    assert rooms.talk("[[recall colour]]", "s-text", bot="open")["path"] == "hot"


def test_whenever_something_is_said_it_is_answered_once(rooms: Rooms) -> None:
    async def burst() -> list[dict[str, Any]]:
        said = []
        for number in range(16):
            said.append(await rooms.said(f"message {number}. [[say answer {number}]]", "s-end", bot="open"))
            # From the beginning of an answer over its very end to the next one's.
            await asyncio.sleep(0.007 * number)
        return [await rooms.ended(turn["turn_id"], 30) for turn in said]

    ended = rooms.run(burst())
    assert {turn["event"] for turn in ended} <= {"chat_answered", "chat_merged"}
    ends = [event["turn"]["turn_id"] for event in rooms.events("chat_answered", "chat_merged", "chat_dropped")]
    assert all(ends.count(turn["turn_id"]) == 1 for turn in ended)
    rooms.talk("[[recall]] the end", "s-end", bot="open")
    heard = "\n".join(prompts(rooms, "the end"))
    assert [heard.count(f"message {number}.") for number in range(16)] == [1] * 16


def test_a_bot_that_rejects_answers_one_and_says_once_that_it_is_busy(rooms: Rooms) -> None:
    async def three() -> list[dict[str, Any]]:
        first = await rooms.said("one thing [[say first]] [[wait 1]]", "r-reject", bot="single", reply_to="there")
        others = [await rooms.said("[[say no]]", "r-reject", bot="single", reply_to="there") for _ in range(2)]
        return [await rooms.ended(first["turn_id"], 15), *others]

    first, second, third = rooms.run(three())
    assert first["answer"] == "first"
    assert {(turn["status"], turn["reason"]) for turn in (second, third)} == {("dropped", "busy")}
    assert posts(rooms, "r-reject")[:-1] == [
        "I am busy with another message and take no second one meanwhile; please say it again when I have answered."
    ]
    assert rooms.talk("[[say again]]", "r-reject", bot="single")["answer"] == "again"


def test_a_room_that_waits_is_told_once_until_nothing_waits_there_any_more(rooms: Rooms) -> None:
    async def wait() -> list[dict[str, Any]]:
        said = [await rooms.said("a slow thing [[say slow]] [[wait 3.6]]", "r-wait", reply_to="there")]
        said += [await rooms.said("[[say next]] [[wait 0.3]]", "r-wait", reply_to="there") for _ in range(3)]
        await rooms.ended(said[0]["turn_id"], 20)
        said.append(await rooms.said("[[say last]]", "r-wait", reply_to="there"))
        return [await rooms.ended(turn["turn_id"], 20) for turn in said]

    ended = rooms.run(wait())
    assert [turn["answer"] for turn in ended] == ["slow", "next", "next", "next", "last"]
    told = [event["turn"]["turn_id"] for event in rooms.events("chat_busy") if event["room_id"] == "r-wait"]
    assert told == [ended[1]["turn_id"]]
    assert posts(rooms, "r-wait")[0] == "I am still busy with an earlier message; yours comes after it."
    assert rooms.sql("select count(*) from turns where room_id = 'r-wait' and not busy_told") == [(0,)]
    rooms.talk("[[say hi]]", "r-wait")
    assert rooms.sql("select count(*) from turns where room_id = 'r-wait' and not busy_told") == [(1,)]


def test_a_bot_that_is_switched_off_stops_in_mid_answer_and_drops_what_waits(rooms: Rooms) -> None:
    async def switch() -> tuple[list[dict[str, Any]], float]:
        said = [await rooms.said("an endless thing [[hang]]", "r-off"), await rooms.said("[[say next]]", "r-off")]
        await asked(rooms, "an endless thing")
        began = asyncio.get_running_loop().time()
        assert (await rooms.ask("switch_bot", bot_id="helper", on=False))["changed"]
        ended = [await rooms.ended(turn["turn_id"], 10) for turn in said]
        return ended, asyncio.get_running_loop().time() - began

    ended, seconds = rooms.run(switch())
    assert {(turn["event"], turn["reason"]) for turn in ended} == {("chat_dropped", "switched_off")}
    assert seconds < 2
    rooms.send("switch_bot", bot_id="helper", on=True)
    assert rooms.talk("[[say back]]", "r-off")["answer"] == "back"


def test_a_worker_that_dies_with_messages_handed_in_leaves_them_to_be_answered_once(rooms: Rooms) -> None:
    async def steer() -> list[dict[str, Any]]:
        first = await rooms.said("slowly [[say slow]] [[wait 3]]", "s-dead", bot="open")
        await asked(rooms, "slowly")
        return [first, *[await rooms.said(f"addendum {name} [[say {name}]]", "s-dead", bot="open") for name in "ab"]]

    said = rooms.run(steer())
    worker = rooms.processes[0]
    clients = clients_of(worker)
    rooms.stop(worker, signal.SIGKILL)
    eventually(lambda: not any(client.is_running() for client in clients), 5)
    rooms.start()
    ended = [rooms.run(rooms.ended(turn["turn_id"], 40)) for turn in said]
    assert (ended[0]["event"], ended[0]["answer"], ended[0]["attempt"]) == ("chat_answered", "slow", 2)
    assert {turn["event"] for turn in ended[1:]} <= {"chat_answered", "chat_merged"}
    ends = [event["turn"]["turn_id"] for event in rooms.events("chat_answered", "chat_merged", "chat_dropped")]
    assert all(ends.count(turn["turn_id"]) == 1 for turn in said)
    rooms.talk("[[say done]] the end of it", "s-dead", bot="open")
    heard = "\n".join(prompts(rooms, "the end of it"))
    assert [heard.count(text) for text in ("slowly", "addendum a", "addendum b")] == [1, 1, 1]
