"""What the commands make of their arguments."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.config import covered
from cli.demo import push_payload
from cli.main import app
from cli.send import read_data

COMMANDS = ("up", "down", "status", "doctor", "demo", "run", "config", "send", "tail")


def test_fields_are_text_or_json_and_stand_on_top_of_the_data() -> None:
    fields = ["type=fact", "content=a=b", 'tags:=["ci", 1]', "empty="]
    assert read_data(fields, '{"type": "idea", "key": "k"}') == {
        "type": "fact",
        "key": "k",
        "content": "a=b",
        "tags": ["ci", 1],
        "empty": "",
    }


@pytest.mark.parametrize(
    ("fields", "data", "said"),
    [
        (["content"], None, "content: expected key=value"),
        (["=x"], None, "expected key=value"),
        (["tags:=[1"], None, "tags: this is not JSON"),
        ([], "[1]", "--data: a JSON object is expected"),
        ([], "{", "--data: this is not JSON"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(fields: list[str], data: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_data(fields, data)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "160"})
    assert shown.exit_code == 0
    assert f"Example: switchyard {command}" in shown.output


def test_secrets_and_passwords_are_covered() -> None:
    assert covered("SWITCHYARD_SECRET", "abcdefgh") == "abc… (8 characters)"
    assert covered("DATABASE_URL", "postgresql://me:secret@host/db") == "postgresql://me:…@host/db"
    assert covered("SWITCHYARD_HOST", "127.0.0.1") == "127.0.0.1"


def test_a_service_that_is_none_is_answered_with_those_there_are() -> None:
    shown = CliRunner().invoke(app, ["run", "kitchen"])
    assert shown.exit_code == 2
    assert "There is no service kitchen" in shown.output


def test_the_demonstration_has_a_push_of_its_own(tmp_path: Path) -> None:
    payload, where = push_payload(tmp_path / "missing.json")
    assert where == "built in"
    assert payload["commits"][0]["id"] == payload["after"]
    (tmp_path / "push.json").write_text(json.dumps({"ref": "x"}))
    assert push_payload(tmp_path / "push.json") == ({"ref": "x"}, "GitHub's example push.json")
