"""Bad input for every command, generated from its schema: each is 422 at the door and names the field."""

import orjson
import pytest

from services.ingress.bodies import LIMIT
from shared.errors import Rejected
from shared.messages import COMMANDS, JsonText, decode_command, encode, encode_command
from shared.messages.commands import validate_data
from tests.unit.ingress.conftest import Doors
from tests.unit.ingress.wrong_data import PUBLIC, wrong_data, wrong_text

every_command = pytest.mark.parametrize("name", PUBLIC)


@every_command
def test_every_command_has_an_example_that_is_valid(name: str) -> None:
    spec = COMMANDS[name]
    text = encode(spec.example)
    validate_data(spec, orjson.loads(text), text)
    if spec.data.model_json_schema().get("required"):
        assert spec.example


@every_command
def test_every_command_says_in_a_sentence_what_it_does(name: str) -> None:
    assert 10 < len(COMMANDS[name].summary) <= 300


@every_command
@pytest.mark.anyio
async def test_wrong_data_is_422_and_names_the_field(doors: Doors, name: str) -> None:
    cases = list(wrong_data(COMMANDS[name]))
    assert cases
    for case in cases:
        got = await doors.command(name, case.data)
        if len(case.data) > LIMIT:
            assert got.status == 413, case.fault
            continue
        assert got.status == 422, (case.fault, got.body)
        problem = got.json()
        assert problem["code"] == "invalid"
        named = {fault["field"].partition(".")[0] for fault in problem["details"]["fields"]}
        assert case.field in named, (case.fault, problem)
        assert case.field in problem["detail"], (case.fault, problem)
    assert await doors.kept() == []


@every_command
@pytest.mark.anyio
async def test_text_that_is_no_data_is_422(doors: Doors, name: str) -> None:
    for fault, text in wrong_text(COMMANDS[name]):
        got = await doors.command(name, text)
        assert (got.status, got.json()["code"]) == (422, "invalid"), (fault, got.body)
    assert await doors.kept() == []


@every_command
def test_wrong_data_that_came_over_the_bus_is_refused_by_the_worker_too(name: str) -> None:
    for case in wrong_data(COMMANDS[name]):
        body = encode_command(name, JsonText(case.data), message_id="m", sender_agent_id="a")
        with pytest.raises(Rejected) as refused:
            decode_command(body)
        assert refused.value.code == "invalid", case.fault
        assert case.field in {fault["field"].partition(".")[0] for fault in refused.value.details["fields"]}
