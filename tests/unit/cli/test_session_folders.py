"""Session folders of other programs, and our own."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.records import Record, line_of, record_of
from cli.session_folders import read_folder, session_folders, write_folder
from shared.database.records import record_of as checked
from shared.messages import JsonText
from shared.messages.transfer import (
    ActionRecord,
    AgentRecord,
    GoalRecord,
    ResponseRecord,
    SessionRecord,
    StateRecord,
    TransitionRecord,
)

MODELS = {
    "session": SessionRecord, "state": StateRecord, "goal": GoalRecord, "agent": AgentRecord,
    "action": ActionRecord, "response": ResponseRecord, "transition": TransitionRecord,
}  # fmt: skip

# As the README of the older design shows its files.
STATE = """{
  "sessionId": "test-session-123",
  "phase": "execution",
  "currentStep": "processing",
  "workspace": { "cwd": "/app", "size": 1e5 },
  "goals": [{"goalId": "goal-001", "description": "Process data", "status": "in_progress", "priority": "high",
             "due": "friday"}],
  "agents": [{"agentId": "agent-001", "type": "processor", "status": "active", "name": "P"}]
}"""
METADATA = '{"sessionId": "test-session-123", "userId": "user-alice", "createdAt": "2025-01-02T03:04:05Z", "tag": 1e2}'
ACTIONS = """\
{"actionId": "a1", "type": "task_start", "timestamp": "2025-01-02T03:05:00Z", "details": {"task": "x"}, "tool": "grep"}

{"type": "task_end", "timestamp": "2025-01-02T03:07:00Z"}
"""
RESPONSES = '{"actionId": "a1", "timestamp": "2025-01-02T03:06:00.5Z", "content": {"n": 1E3}, "tokens": 5}\n'


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions" / "test-session-123"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(STATE)
    (folder / "metadata.json").write_text(METADATA)
    (folder / "actions.jsonl").write_text(ACTIONS)
    (folder / "responses.jsonl").write_text(RESPONSES)
    return folder


def texts(records: list[Record]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for kind, members in records:
        found.setdefault(kind, []).append({name: bytes(value).decode() for name, value in members.items()})
    return found


def check(records: list[Record]) -> None:
    """Every record is one that an import takes."""
    for kind, members in records:
        own = {name: value for name, value in members.items() if name != "session_id"}
        text = line_of(Record(kind, own)).replace(f'"kind":"{kind}",'.encode(), b"", 1)
        checked(MODELS[kind], JsonText(text), kind)


def test_a_folder_of_another_program_loses_nothing(foreign: Path) -> None:
    records = list(read_folder(foreign))
    check(records)
    found = texts(records)
    (session,) = found["session"]
    assert (session["session_id"], session["user_id"]) == ('"test-session-123"', '"user-alice"')
    assert session["created"] == '"2025-01-02T03:04:05.000000Z"'
    assert session["last_activity"] == '"2025-01-02T03:07:00.000000Z"'
    assert session["initial"] == '{"tag":1e2}'
    assert (session["action_count"], session["response_count"], session["seq"]) == ("2", "1", "0")
    (state,) = found["state"]
    assert state["members"] == (
        '{"phase":"execution","currentStep":"processing","workspace":{ "cwd": "/app", "size": 1e5 }}'
    )
    (goal,) = found["goal"]
    assert (goal["goal_id"], goal["status"], goal["metadata"]) == (
        '"goal-001"', '"in_progress"', '{"due":"friday"}',
    )  # fmt: skip
    assert found["agent"][0]["metadata"] == '{"name":"P"}'
    first, second = found["action"]
    assert (first["action_id"], first["number"]) == ('"a1"', "1")
    assert first["details"] == '{"task":"x","tool":"grep"}'
    assert (second["type"], second["number"], second["details"]) == ('"task_end"', "3", "null")
    (response,) = found["response"]
    assert (response["action_id"], response["number"]) == ('"a1"', "2")
    assert (response["content"], response["details"]) == ('{"n": 1E3}', '{"tokens":5}')
    assert response["timestamp"] == '"2025-01-02T03:06:00.500000Z"'


def test_a_folder_is_read_the_same_each_time(foreign: Path) -> None:
    assert texts(list(read_folder(foreign))) == texts(list(read_folder(foreign)))


def test_a_folder_need_not_be_complete(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "actions.jsonl").write_text('{"type": "step", "timestamp": 1735787045000}\n')
    records = list(read_folder(tmp_path / "only"))
    check(records)
    found = texts(records)
    assert found["session"][0]["session_id"] == '"only"'
    assert found["session"][0]["created"] == found["action"][0]["timestamp"] == '"2025-01-02T03:04:05.000000Z"'
    assert "state" not in found


@pytest.mark.parametrize(
    "metadata",
    [
        {"status": "sleeping", "participants": "ann", "title": 5, "userId": [1]},
        {"initial": [1], "startedAt": "yesterday"},
        {"initial": {"a": 1}, "sessionId": 5},
        {"createdAt": "2025-01-02T03:04:05+99:00", "seq": "x"},
    ],
)
def test_what_another_program_has_in_another_form_is_kept_all_the_same(tmp_path: Path, metadata: Any) -> None:
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    records = list(read_folder(tmp_path))
    if not isinstance(metadata.get("sessionId", ""), str):
        assert texts(records)["session"][0]["session_id"] == '"5"'
        return
    check(records)
    initial = json.loads(texts(records)["session"][0]["initial"])
    for name, value in metadata.items():
        if name != "seq":
            assert initial[name] == value


def test_session_folders_are_found_in_a_store(foreign: Path, tmp_path: Path) -> None:
    assert session_folders(foreign) == [foreign]
    assert session_folders(foreign.parent) == [foreign]
    assert session_folders(tmp_path) == [foreign]
    (tmp_path / "empty").mkdir()
    assert session_folders(tmp_path / "empty") == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("state.json", "[]"),
        ("state.json", '{"goals": {}}'),
        ("actions.jsonl", '{"a": 1}\n{"b"'),
        ("metadata.json", "x"),
    ],
)
def test_a_damaged_file_is_named(foreign: Path, file: str, text: str) -> None:
    (foreign / file).write_text(text)
    with pytest.raises(ValueError, match=file.split(".")[0]):
        list(read_folder(foreign))


def test_what_is_written_is_read_again(foreign: Path, tmp_path: Path) -> None:
    records = list(read_folder(foreign))
    write_folder(records, tmp_path / "copy")
    assert texts(list(read_folder(tmp_path / "copy"))) == texts(records)
    assert not (tmp_path / "copy" / "records.jsonl").exists()
    state = json.loads((tmp_path / "copy" / "state.json").read_text())
    assert state["goals"][0]["goalId"] == "goal-001"
    assert list(state) == ["sessionId", "phase", "currentStep", "workspace", "goals", "agents"]


def test_breaks_within_json_do_not_break_lines() -> None:
    record = record_of(b'{"kind":"action","details":{"a":1}}', "here")
    record.members["details"] = type(record.members["details"])(b'{\n"a":\r\n"b\\n"}')
    assert line_of(record) == b'{"kind":"action","details":{ "a":  "b\\n"}}\n'


@pytest.mark.parametrize("line", [b"[]", b"{}", b'{"kind":"film"}', b'{"kind":5}', b"{"])
def test_a_line_that_is_no_record_is_named(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 7"):
        record_of(line, "file, line 7")
