"""What the commands make of their arguments."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.config import covered
from cli.demo import push_payload
from cli.local.environment import ROOT
from cli.main import app
from cli.send import read_data
from shared.messages import COMMANDS, encode


def paths(group: Any, *before: str) -> list[list[str]]:
    """Every command of a group and of the groups in it, as it is typed."""
    found = []
    for name, command in group.commands.items():
        inner = paths(command, *before, name) if hasattr(command, "commands") else [[*before, name]]
        found += [] if command.hidden else inner
    return found


PATHS = paths(typer.main.get_command(app))


def test_fields_are_text_or_json_and_stand_on_top_of_the_data() -> None:
    fields = ["type=fact", "content=a=b", 'tags:=["ci", 1e5]', "empty="]
    data = read_data(fields, '{"type": "idea", "key": "k", "number": 1e5, "big": 1180591620717411303424}')
    assert json.loads(data) == {
        "type": "fact",
        "key": "k",
        "number": 1e5,
        "big": 2**70,
        "content": "a=b",
        "tags": ["ci", 1e5],
        "empty": "",
    }
    assert b'"number":1e5' in data
    assert b'"tags":["ci", 1e5]' in data


@pytest.mark.parametrize(
    ("fields", "data", "said"),
    [
        (["content"], None, "content: expected key=value"),
        (["=x"], None, "expected key=value"),
        (["tags:=[1"], None, "tags: this is not JSON"),
        (["tags:=NaN"], None, "tags: this is not JSON"),
        (["key=\udcff"], None, "this is not UTF-8"),
        ([], "[1]", "--data: a JSON object is expected"),
        ([], "{", "--data: this is not JSON"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(fields: list[str], data: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_data(fields, data)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_commands_help_has_an_example(path: list[str]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "160"})
    assert shown.exit_code == 0
    assert f"Example: switchyard {' '.join(path)}" in shown.output


def test_the_exit_codes_are_told_by_help() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "160"}).output
    assert "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not reachable" in shown


def test_the_help_needs_nothing_that_is_slow_to_load() -> None:
    slow = {"httpx", "pydantic", "sqlalchemy", "psycopg", "websockets", "asyncio", "rich.table", "shared.messages"}
    code = f"import sys, cli.main; print(sorted({slow} & set(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert loaded.stdout.strip() == "[]"


def test_commands_are_listed_by_area() -> None:
    shown = CliRunner().invoke(app, ["send", "--list"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    public = {name for name, spec in COMMANDS.items() if spec.public}
    assert {line.split()[0] for line in shown.output.splitlines() if line.startswith("  ")} == public
    areas = json.loads(CliRunner().invoke(app, ["send", "--list", "--json"]).output)
    assert {name for names in areas.values() for name in names} == public


@pytest.mark.parametrize("name", [name for name, spec in COMMANDS.items() if spec.public])
def test_every_command_explains_its_fields_and_has_an_example_that_says_what_it_means(name: str) -> None:
    shown = CliRunner().invoke(app, ["send", name, "--explain"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    spec = COMMANDS[name]
    for field in spec.data.model_fields:
        assert re.search(rf"^{field}  ", shown.output, re.MULTILINE)
    words = shlex.split(shown.output[shown.output.rindex("\nswitchyard send ") :])
    assert words[:3] == ["switchyard", "send", name]
    assert json.loads(read_data(words[3:], None)) == json.loads(encode(spec.example))


def test_types_are_told_in_words() -> None:
    shown = CliRunner().invoke(app, ["send", "delegate_task", "--explain"], env={"COLUMNS": "300"}).output
    assert re.search(r"^session_id +text +required$", shown, re.MULTILINE)
    assert re.search(r"^priority +whole number 0 to 9 +default 5$", shown, re.MULTILINE)
    assert re.search(r"^input_data +any JSON$", shown, re.MULTILINE)


@pytest.mark.parametrize("words", [["send", "store_memry", "--explain"], ["send", "no_such_thing_at_all", "--explain"]])
def test_a_mistyped_command_is_answered_with_what_was_meant(words: list[str]) -> None:
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 2
    assert f"There is no command {words[1]}." in shown.output
    assert ("Did you mean store_memory" in shown.output) == (words[1] == "store_memry")


@pytest.mark.parametrize(
    "words",
    [
        ["memories", "forget", "demo", "plan"],
        ["tasks", "cancel", "t1"],
        ["sidebars", "archive", "sb1"],
        ["dead-letters", "redrive", "--all"],
    ],
)
def test_what_cannot_be_undone_is_not_done_unasked(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "--yes" in refused.output
    monkeypatch.setattr("cli.screen.somebody_there", lambda: True)
    declined = CliRunner().invoke(app, words, input="n\n")
    assert declined.exit_code == 1
    assert "Nothing was done." in declined.output


@pytest.mark.parametrize("words", [["redrive"], ["redrive", "1", "--all"], ["redrive", "0"], ["show", "x"]])
def test_dead_letters_that_are_not_named_properly_are_wrong_usage(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["dead-letters", *words]).exit_code == 2


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
