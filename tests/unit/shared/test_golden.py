"""Every message as it travels, pinned: `tests/golden/<name>.json`, one file for each command and each event.

A failure here means that the form of a message changed, which other programs see. If that is meant, write the files
anew with `SWITCHYARD_GOLDEN=write`, and read the difference before committing it.
"""

import os
from pathlib import Path

import orjson
import pytest

from shared.messages import COMMANDS, EVENTS, decode_command, encode
from tests.unit.shared import samples

FOLDER = Path(__file__).parents[2] / "golden"
WRITE = os.environ.get("SWITCHYARD_GOLDEN") == "write"


@pytest.fixture
def fixed_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.messages.commands.now", lambda: samples.MOMENT)


def golden(name: str, text: bytes) -> str:
    file = FOLDER / f"{name}.json"
    if WRITE:
        FOLDER.mkdir(exist_ok=True)
        file.write_text(samples.pretty(text))
    assert file.exists(), f"{file.name} is missing: run once with SWITCHYARD_GOLDEN=write"
    return file.read_text()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_looks_as_it_always_did(name: str, fixed_now: None) -> None:
    text = samples.command_text(name)
    assert samples.pretty(text) == golden(name, text)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_of_the_golden_files_is_understood(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_bytes()
    command = decode_command(text)

    assert command.spec is COMMANDS[name]
    # No field got lost, not even one that is arbitrary JSON.
    assert orjson.loads(encode(command.data)) == orjson.loads(text)["data"]
    assert set(orjson.loads(text)["data"]) == set(command.spec.data.model_fields)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_event_looks_as_it_always_did(name: str) -> None:
    text = samples.event(name).encoded()
    assert samples.pretty(text) == golden(name, text)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_event_of_the_golden_files_is_understood(name: str) -> None:
    document = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    event = EVENTS[name].model_validate(document)

    assert orjson.loads(event.encoded()) == document
    assert set(document) == set(EVENTS[name].model_fields)


def test_there_is_one_golden_file_for_each_message_and_none_besides() -> None:
    assert {file.stem for file in FOLDER.glob("*")} == {*COMMANDS, *EVENTS}
    assert not set(COMMANDS) & set(EVENTS)
