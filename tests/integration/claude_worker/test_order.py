"""Messages in their order, rooms side by side, and messages of programs that know no partitions."""

import asyncio
from collections.abc import Iterator

import pytest

from shared.bus.topology import COMMANDS
from shared.messages import encode_command, new_id
from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.rooms import Rooms
from tests.waiting import eventually

ROOMS = [f"r{number}" for number in range(4)]


@pytest.fixture(scope="module")
def rooms(
    amqp_url: str, module_database_url: str, tmp_path_factory: pytest.TempPathFactory, api: MessagesAPI
) -> Iterator[Rooms]:
    """Rooms with one worker."""
    made = Rooms(amqp_url, module_database_url, tmp_path_factory.mktemp("rooms"), api)
    made.start()
    yield made
    made.close()


def test_a_burst_to_one_room_is_answered_in_its_order(rooms: Rooms) -> None:
    async def burst() -> list[str]:
        turns = [await rooms.said(f"[[say number {number}]]", "burst") for number in range(50)]
        return [(await rooms.ended(turn["turn_id"]))["answer"] for turn in turns]

    wanted = [f"number {number}" for number in range(50)]
    assert rooms.run(burst()) == wanted
    answered = [event["turn"] for event in rooms.events("chat_answered") if event["room_id"] == "burst"]
    assert [turn["answer"] for turn in answered] == wanted
    assert [turn["number"] for turn in answered] == list(range(1, 51))


def test_rooms_are_answered_side_by_side_and_know_nothing_of_each_other(rooms: Rooms) -> None:
    async def both() -> list[str]:
        said = [await rooms.said(f"my colour is c-{room} [[say noted]]", room) for room in ROOMS]
        asked = [await rooms.said("[[recall colour]]", room) for room in ROOMS]
        ended = await asyncio.gather(*(rooms.ended(turn["turn_id"]) for turn in [*said, *asked]))
        return [turn["answer"] for turn in ended[len(ROOMS) :]]

    assert rooms.run(both()) == [f"my colour is c-{room}" for room in ROOMS]


def test_what_another_program_publishes_by_the_plain_key_is_answered_as_well(rooms: Rooms) -> None:
    async def publish() -> str:
        publisher, message_id = await rooms.clients.publisher(rooms.amqp_url), new_id()
        data = {"room_id": "plain", "bot_id": "helper", "user_name": "Ada", "text": "[[say heard]]"}
        body = encode_command("chat_message", data, message_id=message_id, sender_agent_id="a program")
        await publisher.publish(COMMANDS, "chat.chat_message", body, message_id=message_id)
        return message_id

    message_id = rooms.run(publish())
    asked = f"select turn_id from turns where message_id = '{message_id}'"
    ((turn_id,),) = eventually(lambda: rooms.sql(asked), 20)
    assert rooms.run(rooms.ended(turn_id))["answer"] == "heard"


def test_a_bot_that_is_switched_off_answers_nothing_until_it_is_switched_on(rooms: Rooms) -> None:
    assert rooms.send("switch_bot", bot_id="helper", on=False, reason="nonsense")["changed"]
    dropped = rooms.talk("[[say hi]]", "switched")
    assert (dropped["event"], dropped["reason"]) == ("chat_dropped", "switched_off")
    assert rooms.send("switch_bot", bot_id="helper", on=True)["changed"]
    assert rooms.talk("[[say hi]]", "switched")["answer"] == "hi"
