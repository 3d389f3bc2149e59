"""Tools that somebody has to allow: the turn waits, goes on with what was decided, and happens once."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import pytest

from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.rooms import Rooms
from tests.waiting import eventually_async

BOTS = "".join(
    f"""
[bots.{name}]
model = "claude-sonnet-4-5"
ask_tools = ["chat_message"]
allowed_tools = ["chat_stats"]
approvers = ["Grace", "u-7"]
{more}
"""
    for name, more in {
        "clerk": "",
        "hasty": "approval_minutes = 0.02",
        "rude": "busy = 'interrupt'",
    }.items()
)
# Whom they talk to does not answer what bots say, so that no client is started for that.
BOTS += "[bots.other]\nmax_hops = 1\n"


@pytest.fixture(scope="module")
def rooms(
    amqp_url: str, module_database_url: str, tmp_path_factory: pytest.TempPathFactory, api: MessagesAPI
) -> Iterator[Rooms]:
    """Rooms with one worker."""
    made = Rooms(amqp_url, module_database_url, tmp_path_factory.mktemp("rooms"), api, BOTS)
    made.start()
    yield made
    made.close()


def tell(room: str, text: str = "[[say fine]]") -> str:
    """What has the bot ask to say something to another bot in another room."""
    data = {"room_id": room, "bot_id": "other", "user_name": "Clerk", "text": text}
    return f"[[tool chat_message {orjson.dumps(data).decode()}]]"


async def asked_for(rooms: Rooms, room: str, number: int = 1) -> dict[str, Any]:
    """The approval that a room's bot has asked for, as the event tells it."""

    async def look() -> dict[str, Any] | None:
        found = [event["approval"] for event in rooms.events("approval_requested") if event["room_id"] == room]
        return found[number - 1] if len(found) >= number else None

    found = await eventually_async(look, 40, because=f"request {number} for an approval in {room}")
    assert found is not None
    return found


def park(rooms: Rooms, room: str, text: str = "", *, bot: str = "clerk", **more: Any) -> tuple[str, dict[str, Any]]:
    """Have a bot ask for a tool; its turn's id and the approval."""

    async def do() -> tuple[str, dict[str, Any]]:
        turn = await rooms.said(text or tell(f"{room}-told"), room, bot=bot, **more)
        return turn["turn_id"], await asked_for(rooms, room)

    return rooms.run(do())


def told_in(rooms: Rooms, room: str) -> list[dict[str, Any]]:
    """What bots have said in another room."""
    found: list[dict[str, Any]] = rooms.send("list_turns", room_id=f"{room}-told")["turns"]
    return found


def decided(rooms: Rooms, approval: dict[str, Any]) -> dict[str, Any]:
    """The approval as the one event that decides it tells it."""

    async def look() -> list[dict[str, Any]]:
        events = rooms.events("approval_decided")
        return [each["approval"] for each in events if each["approval"]["approval_id"] == approval["approval_id"]]

    found = rooms.run(eventually_async(look, 20, because="the decision"))
    assert found is not None and len(found) == 1
    return found[0]


def test_a_tool_that_is_asked_for_waits_and_is_used_once_it_is_allowed(rooms: Rooms) -> None:
    turn_id, approval = park(rooms, "r-allow", reply_to="sealed")
    assert (approval["tool"], approval["status"], approval["input"]["bot_id"]) == ("chat_message", "pending", "other")
    (turn,) = rooms.send("list_turns", room_id="r-allow")["turns"]
    assert turn["status"] == "parked" and turn["input_tokens"] > 0
    (post,) = rooms.sql(f"select text from chat_posts where turn_id = '{turn_id}'")
    short = approval["approval_id"][-6:]
    assert "I want to use chat_message with {" in post[0] and f"`approve {short}` or `deny {short}`" in post[0]
    # Its client is not kept for it.
    assert all(each["room_id"] != "r-allow" for each in rooms.send("chat_stats")["pool"].get("sessions", []))
    waiting = rooms.run(rooms.said("[[say second]]", "r-allow", bot="clerk"))
    assert (waiting["status"], told_in(rooms, "r-allow")) == ("queued", [])

    allowed = rooms.send("approve", by="root", approval_id=approval["approval_id"], note="go ahead")["approval"]
    assert (allowed["status"], allowed["decided_by"], allowed["note"]) == ("approved", "root", "go ahead")
    answered = rooms.run(rooms.ended(turn_id))
    assert (answered["event"], answered["path"], answered["attempt"]) == ("chat_answered", "warm", 2)
    assert answered["answer"].startswith("chat_message answered: ") and answered["input_tokens"] > turn["input_tokens"]
    (told,) = told_in(rooms, "r-allow")
    assert told["user_name"] == "Clerk"
    assert rooms.run(rooms.ended(waiting["turn_id"]))["answer"] == "second"
    assert decided(rooms, approval)["status"] == "approved"
    audited = rooms.sql("select agent_id, outcome from audit where command = 'approve'")
    assert audited == [("root", "ok")]


def test_the_first_decision_stands(rooms: Rooms) -> None:
    turn_id, approval = park(rooms, "r-deny")
    refused = rooms.send("deny", by="root", approval_id=approval["approval_id"], note="not on a Friday")
    assert refused["approval"]["status"] == "denied"
    late = rooms.send("approve", by="ada", approval_id=approval["approval_id"])
    assert late["code"] == "conflict" and "already denied by root" in late["message"]
    answered = rooms.run(rooms.ended(turn_id))
    assert "root has refused you chat_message: not on a Friday" in answered["answer"]
    assert told_in(rooms, "r-deny") == []
    assert rooms.send("approve", approval_id="nothing")["code"] == "not_found"
    listed = rooms.send("list_approvals", room_id="r-deny")["approvals"]
    assert [each["status"] for each in listed] == ["denied"] and listed[0]["input"] == approval["input"]

    _, both = park(rooms, "r-both")
    wanted = {"approval_id": both["approval_id"]}

    async def at_once() -> list[dict[str, Any]]:
        return await asyncio.gather(rooms.ask("approve", by="a", **wanted), rooms.ask("deny", by="b", **wanted))

    replies = rooms.run(at_once())
    assert sorted("approval" in reply for reply in replies) == [False, True]
    assert next(reply for reply in replies if "code" in reply)["code"] == "conflict"


def test_an_approvers_word_in_the_room_decides_and_anybody_elses_is_a_message(rooms: Rooms) -> None:
    turn_id, approval = park(rooms, "r-word", trust="untrusted")
    short = approval["approval_id"][-6:]
    said = {"room": "r-word", "bot": "clerk"}
    words = [
        rooms.run(rooms.said("approve", **said)),
        rooms.run(rooms.said(f"approve {short}", user_name="grace hopper", **said)),
        # A bot's word counts for nothing, whatever it calls itself.
        rooms.run(rooms.said("approve", user_name="Grace", hops=1, by="mallory", **said)),
        rooms.run(rooms.said("approve abcdef12", user_name="Grace", **said)),
        rooms.run(rooms.said("approve of it, would you?", user_name="Grace", **said)),
    ]
    assert {word["status"] for word in words} == {"queued"} and told_in(rooms, "r-word") == []

    word = rooms.run(rooms.said(f"Approve {short}, it is fine.", user_name="Grace", trust="untrusted", **said))
    assert (word["status"], word["merged_into"]) == ("merged", turn_id)
    assert rooms.run(rooms.ended(turn_id))["answer"].startswith("chat_message answered: ")
    verdict = decided(rooms, approval)
    assert (verdict["status"], verdict["decided_by"], verdict["note"]) == ("approved", "Grace", "it is fine")
    assert [turn["trust"] for turn in told_in(rooms, "r-word")] == ["untrusted"]
    for each in words:
        assert rooms.run(rooms.ended(each["turn_id"]))["event"] == "chat_answered"

    late = rooms.run(rooms.said(f"deny {short}", user_name="x", user_id="u-7", reply_to="sealed", **said))
    assert (late["status"], late["merged_into"]) == ("merged", turn_id)
    (post,) = rooms.sql(f"select text from chat_posts where turn_id = '{late['turn_id']}'")
    assert post[0] == f"Approval {short} was already approved by Grace; the first decision stands."


def test_what_nobody_decides_in_time_is_refused(rooms: Rooms) -> None:
    turn_id, approval = park(rooms, "r-late", bot="hasty")
    answered = rooms.run(rooms.ended(turn_id))
    assert "Nobody has allowed you chat_message in time" in answered["answer"]
    assert (decided(rooms, approval)["status"], told_in(rooms, "r-late")) == ("expired", [])
    late = rooms.send("approve", approval_id=approval["approval_id"])
    assert late["code"] == "conflict" and "has expired" in late["message"]


def test_a_turn_that_asks_twice_waits_twice_and_two_at_once_are_asked_for_one_after_the_other(rooms: Rooms) -> None:
    same = tell("r-twice-told")
    turn_id, first = park(rooms, "r-twice", f"[[tool chat_stats {{}}]] {same} {same} [[say done]]")
    rooms.send("approve", approval_id=first["approval_id"])
    second = rooms.run(asked_for(rooms, "r-twice", 2))
    assert len(told_in(rooms, "r-twice")) == 1 and second["input"] == first["input"]
    rooms.send("approve", approval_id=second["approval_id"])
    assert rooms.run(rooms.ended(turn_id))["answer"] == "done"
    # The same words twice are two uses, though the turn was begun three times.
    assert len(told_in(rooms, "r-twice")) == 2

    turn_id, first = park(rooms, "r-together", f"[[together]] {same} {same}")
    rooms.send("deny", by="root", approval_id=first["approval_id"])
    answered = rooms.run(rooms.ended(turn_id))["answer"]
    assert "root has refused you chat_message" in answered and "Another tool of this message waits" in answered


def test_a_reset_or_a_switched_off_bot_or_a_newer_message_that_interrupts_ends_the_wait(rooms: Rooms) -> None:
    _, approval = park(rooms, "r-reset", "my colour is teal " + tell("r-reset-told"))
    rooms.send("reset_chat", room_id="r-reset", bot_id="clerk")
    closed = decided(rooms, approval)
    assert (closed["status"], closed["decided_by"]) == ("denied", "system") and "reset" in closed["note"]
    assert rooms.send("approve", approval_id=approval["approval_id"])["code"] == "conflict"
    assert rooms.talk("[[recall colour]]", "r-reset", bot="clerk")["answer"] == "I don't remember: colour"

    first = rooms.talk("my colour is teal [[say noted]]", "r-rude", bot="rude")
    turn_id, approval = park(rooms, "r-rude", "my colour is red " + tell("r-rude-told"), bot="rude")
    # What was dropped while it waited is forgotten, and what was said before is not.
    assert rooms.talk("[[recall colour]]", "r-rude", bot="rude")["answer"] == "my colour is teal"
    assert (first["answer"], rooms.run(rooms.ended(turn_id))["reason"]) == ("noted", "interrupted")
    assert decided(rooms, approval)["status"] == "denied" and told_in(rooms, "r-rude") == []

    turn_id, approval = park(rooms, "r-off")
    rooms.send("switch_bot", by="root", bot_id="clerk", on=False)
    assert rooms.run(rooms.ended(turn_id))["reason"] == "switched_off"
    assert decided(rooms, approval)["status"] == "denied"
    rooms.send("switch_bot", by="root", bot_id="clerk", on=True)
    assert rooms.talk("[[say on]]", "r-off", bot="clerk")["answer"] == "on"


def test_a_wait_ends_when_its_bot_is_found_switched_off_whoever_was_told(rooms: Rooms) -> None:
    turn_id, approval = park(rooms, "r-beat")
    # Nobody is told by a command: so many rooms at once that this was not among those that are.
    rooms.sql("insert into chat_switches (bot_id, switched_by) values ('clerk', 'root')")
    assert rooms.run(rooms.ended(turn_id, 10))["reason"] == "switched_off"
    assert decided(rooms, approval)["status"] == "denied"
    rooms.send("switch_bot", by="root", bot_id="clerk", on=True)


def test_a_worker_killed_in_any_phase_leaves_a_turn_that_another_ends_with_its_tool_used_once(
    rooms: Rooms, api: MessagesAPI
) -> None:
    first = rooms.processes[0]
    waits, waiting = park(rooms, "k-waits", "my colour is teal " + tell("k-waits-told"))
    used, using = park(rooms, "k-used", f"{tell('k-used-told')} [[say late]] [[wait 2]]")
    allowed, allowing = park(rooms, "k-allowed")
    with psycopg.connect(rooms.database_url) as connection:
        # Between the hook and the commit: what it commits into is locked.
        asking = rooms.run(rooms.said(tell("k-asking-told"), "k-asking", bot="clerk"))["turn_id"]

        async def is_begun() -> bool:
            return any(event["turn"]["turn_id"] == asking for event in rooms.events("chat_started"))

        rooms.run(eventually_async(is_begun, 20))
        connection.execute("select 1 from chats where room_id = 'k-asking' for update")
        # After the tool, before the answer.
        rooms.send("approve", approval_id=using["approval_id"])

        async def is_used() -> bool:
            return bool((await rooms.ask("list_turns", room_id="k-used-told"))["turns"])

        rooms.run(eventually_async(is_used, 20))
        # Between the approval and what comes of it.
        rooms.send("approve", approval_id=allowing["approval_id"])
        rooms.stop(first, signal.SIGKILL)
    assert not [event for event in rooms.events("approval_requested") if event["room_id"] == "k-asking"]

    rooms.start()
    assert rooms.run(rooms.ended(used, 60))["answer"] == "late"
    assert rooms.run(rooms.ended(allowed))["answer"].startswith("chat_message answered: ")
    rooms.send("approve", approval_id=rooms.run(asked_for(rooms, "k-asking"))["approval_id"])
    assert rooms.run(rooms.ended(asking))["answer"].startswith("chat_message answered: ")
    rooms.send("approve", approval_id=waiting["approval_id"])
    answered = rooms.run(rooms.ended(waits))
    assert (answered["event"], answered["path"]) == ("chat_answered", "warm")
    assert rooms.talk("[[recall colour]]", "k-waits", bot="clerk")["answer"] == "my colour is teal"
    for room in ("k-waits", "k-used", "k-allowed", "k-asking"):
        assert len(told_in(rooms, room)) == 1, room
