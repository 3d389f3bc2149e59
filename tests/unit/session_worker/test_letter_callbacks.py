"""Who is told of a command that was given up."""

import gzip

import orjson
import pytest

from services.session_worker.dead_letters import Arrival
from services.session_worker.letter_callbacks import callback_of
from shared.messages import decode_command, encode_command
from tests.unit.session_worker.test_dead_letters import a_kept, an_arrival

URL = "https://hooks.example.com/"


def a_command(**more) -> bytes:
    return encode_command("pause_session", {"session_id": "s1"}, message_id="m1", sender_agent_id="ada", **more)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_command_with_a_url_that_was_given_up_owes_its_failure(compressed: bool) -> None:
    body = a_command(callback_url=URL)
    arrival = an_arrival(body=gzip.compress(body), content_encoding="gzip") if compressed else an_arrival(body=body)
    owed = callback_of(arrival, a_kept())
    assert owed is not None
    message_id, text = owed
    command = decode_command(text)
    assert (command.spec.name, command.message_id, command.callback_url) == ("send_callback", message_id, None)
    assert (command.data.url, command.data.message_id, command.data.command) == (URL, "m1", "pause_session")
    assert command.data.error.value() == {
        "code": "internal", "message": "given up: because", "details": {"dead_letter_id": 7},
    }  # fmt: skip
    assert callback_of(arrival, a_kept())[0] == message_id
    assert callback_of(arrival, a_kept(id=8))[0] != message_id


@pytest.mark.parametrize(
    "arrival",
    [
        an_arrival(body=a_command()),
        an_arrival(body=b"callback_url, but no JSON"),
        an_arrival(body=b'["callback_url"]'),
        an_arrival(body=orjson.dumps({"callback_url": URL})),
        an_arrival(
            body=orjson.dumps({"callback_url": 7, "type": "command", "message_id": "m", "command": "x", "data": {}})
        ),
        an_arrival(body=b"no gzip, callback_url", content_encoding="gzip"),
    ],
)
def test_other_letters_owe_nothing(arrival: Arrival) -> None:
    assert callback_of(arrival, a_kept()) is None
