"""Sessions that leave and come back: records out of one database, into another."""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import orjson
import pytest

from services.memory_worker.handlers import HANDLERS as MEMORY_HANDLERS
from services.memory_worker.queries import QUERIES as MEMORY_QUERIES
from services.session_worker.batch import HANDLERS as BATCH
from services.session_worker.handlers import HANDLERS
from services.task_worker.handlers import HANDLERS as TASK_HANDLERS
from shared.messages import JsonText, encode
from shared.messages.json_text import slices
from shared.messages.transfer import RecordKind, SessionRecord
from tests.integration.session_worker.conftest import SessionWorker


class Worker(SessionWorker):
    """Every worker's commands in one."""

    handlers = {**HANDLERS, **BATCH, **MEMORY_HANDLERS, **TASK_HANDLERS}
    queries = {**SessionWorker.queries, **MEMORY_QUERIES}

    def records(self, session_id: str, kind: str, limit: int = 2) -> list[bytes]:
        """Every record of a kind, as text."""
        found: list[bytes] = []
        cursor: dict[str, Any] = {"callbacks": True} if kind == "task" else {}
        while True:
            page = slices(self.ask_text("export_records", session_id=session_id, kind=kind, limit=limit, **cursor))
            found += [bytes(text) for text in ITEMS.decode(page["records"])]
            after = orjson.loads(page["next"])
            if after is None:
                return found
            cursor["cursor"] = after

    def everything(self, session_id: str) -> dict[str, list[bytes]]:
        """Every record of a session, and the session itself."""
        session = slices(slices(self.ask_text("get_session", session_id=session_id))["session"])
        kept = {name: JsonText(session[name]) for name in SessionRecord.model_fields}
        return {"session": [encode(kept)]} | {kind: self.records(session_id, kind) for kind in get_args(RecordKind)}

    def put(self, session_id: str, everything: dict[str, list[bytes]]) -> list[dict[str, Any]]:
        """Import what another worker has given."""
        session = f'{{"session_id": "{session_id}", "session": {everything["session"][0].decode()}}}'
        answers = [self.do("import_session", session)]
        for kind, records in everything.items():
            if kind == "session":
                continue
            text = b",".join(records).decode()
            if kind == "memory":
                answers.append(self.do("import_memories", f'{{"session_id": "{session_id}", "records": [{text}]}}'))
            elif kind == "task":
                answers.append(self.do("import_tasks", f'{{"session_id": "{session_id}", "tasks": [{text}]}}'))
            else:
                answers.append(
                    self.do(
                        "import_records",
                        f'{{"session_id": "{session_id}", "kind": "{kind}", "records": [{text}]}}',
                    )
                )
        answers.append(self.do("import_session", session))
        return answers


ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
# A session with something of every kind, some of it twice, with JSON that decoding would change.
LIFE = """{"commands": [
    {"command": "create_session", "data": {"session_id": "s", "title": "T", "participants": ["ann"],
        "initial": {"z": 1e2, "a": 1180591620717411303424}}},
    {"command": "pause_session", "data": {"session_id": "s", "reason": "lunch"}},
    {"command": "resume_session", "data": {"session_id": "s"}},
    {"command": "update_state", "data": {"session_id": "s", "patch": {"b": 1.50, "a": null, "phase": "x"}}},
    {"command": "add_goal", "data": {"session_id": "s", "goal_id": "g1", "description": "d", "metadata": {"q": 1e5}}},
    {"command": "add_goal", "data": {"session_id": "s", "goal_id": "g2", "description": "d", "priority": "high"}},
    {"command": "update_goal", "data": {"session_id": "s", "goal_id": "g2", "status": "in_progress"}},
    {"command": "spawn_agent", "data": {"session_id": "s", "agent_id": "a1", "type": "reviewer"}},
    {"command": "complete_agent", "data": {"session_id": "s", "agent_id": "a1", "result": [1, 2.0]}},
    {"command": "log_action", "data": {"session_id": "s", "action_id": "1", "type": "step", "details": {"n": 1E3},
        "timestamp": "2026-01-31T12:00:00.123+02:00"}},
    {"command": "log_response", "data": {"session_id": "s", "response_id": "r", "action_id": "1", "content": "é"}},
    {"command": "log_action", "data": {"session_id": "s", "action_id": "2", "type": "step"}},
    {"command": "log_action", "data": {"session_id": "s", "action_id": "3", "type": "step", "agent_id": "a1"}},
    {"command": "conversation_chunk", "data": {"session_id": "s", "chunk_id": "c", "content": "Idea: move it."}},
    {"command": "conversation_chunk", "data": {"session_id": "s", "chunk_id": "d", "content": "x",
        "metadata": null}},
    {"command": "add_artifact", "data": {"session_id": "s", "artifact_id": "f", "name": "n", "type": "t",
        "content": "line\\n\\ttab", "metadata": {"k": {"b": 1, "a": 2}}}},
    {"command": "store_memory", "data": {"session_id": "s", "key": "k", "type": "fact", "content": {"v": 1e1}}},
    {"command": "store_memory", "data": {"session_id": "s", "key": "k", "type": "fact", "content": "two",
        "tags": ["x", "y"]}},
    {"command": "store_memory", "data": {"session_id": "s", "key": "gone", "type": "risk", "content": "secret"}},
    {"command": "forget_memory", "data": {"session_id": "s", "key": "gone", "reason": "named somebody"}},
    {"command": "delegate_task", "data": {"session_id": "s", "agent_name": "codex", "task_type": "t",
        "input_data": {"n": 1e2}, "run_at": "2030-01-01T00:00:00Z"}},
    {"command": "delegate_task", "data": {"session_id": "s", "agent_name": "codex", "task_type": "t",
        "callback_url": "https://hooks.example.com/a?key=hidden"}}
]}"""


@pytest.fixture(scope="module")
def origin(module_database_url: str) -> Iterator[Worker]:
    """Where a session has lived and been completed."""
    worker = Worker(module_database_url)
    made = worker.do("batch", LIFE)
    assert "results" in made, made
    worker.do("complete_session", session_id="s", summary="done")
    yield worker
    worker.close()


@pytest.fixture
def elsewhere(database_url: str) -> Iterator[Worker]:
    worker = Worker(database_url)
    yield worker
    worker.close()


def test_whoever_may_only_read_gets_tasks_without_callbacks_and_can_import_them(
    origin: Worker, elsewhere: Worker
) -> None:
    text = origin.ask_text("export_records", session_id="s", kind="task")
    assert b"hooks.example.com" not in text
    records = orjson.loads(text)["records"]
    assert [record["callback_url"] for record in records] == [None, None]
    elsewhere.do("create_session", session_id="s")
    assert elsewhere.do("import_tasks", session_id="s", tasks=records) == {"imported": 2}


def test_a_session_comes_back_in_another_database_as_it_was(origin: Worker, elsewhere: Worker) -> None:
    left = origin.everything("s")
    assert all(left.values()), {kind: len(records) for kind, records in left.items()}
    answers = elsewhere.put("s", left)
    assert [answer for answer in answers if "code" in answer] == []
    assert elsewhere.everything("s") == left
    assert elsewhere.ask("get_state", session_id="s") == origin.ask("get_state", session_id="s")
    assert elsewhere.ask("memory_history", session_id="s", key="k") == origin.ask(
        "memory_history", session_id="s", key="k"
    )


def test_importing_again_changes_nothing(origin: Worker, elsewhere: Worker) -> None:
    left = origin.everything("s")
    elsewhere.put("s", left)
    again = elsewhere.put("s", left)
    assert [answer.get("imported", 0) for answer in again] == [0] * len(again), again
    assert elsewhere.everything("s") == left
    assert origin.put("s", left)[0]["created"] is False
    assert origin.everything("s") == left


def test_an_import_that_was_cut_off_goes_on(origin: Worker, elsewhere: Worker) -> None:
    left = origin.everything("s")
    elsewhere.put("s", {kind: records[:1] for kind, records in left.items()})
    elsewhere.put("s", left)
    assert elsewhere.everything("s") == left


def test_a_session_may_come_back_under_another_id(origin: Worker, elsewhere: Worker) -> None:
    left = {kind: records for kind, records in origin.everything("s").items() if kind != "task"}
    elsewhere.put("copy", left)
    assert {kind: records for kind, records in elsewhere.everything("copy").items() if kind != "task"} == left


def test_what_is_there_with_other_content_is_a_conflict_and_nothing_is_written(
    origin: Worker, elsewhere: Worker
) -> None:
    left = origin.everything("s")
    elsewhere.put("s", {**left, "action": []})
    first, second, third = left["action"]
    other = third.replace(b'"agent_id":"a1"', b'"agent_id":"a2"')
    assert other != third
    text = f'{{"session_id": "s", "kind": "action", "records": [{third.decode()}]}}'
    assert elsewhere.do("import_records", text) == {"imported": 1}
    mixed = b",".join([first, second, other]).decode()
    refused = elsewhere.do("import_records", f'{{"session_id": "s", "kind": "action", "records": [{mixed}]}}')
    assert (refused["code"], refused["details"]["key"]) == ("conflict", "3")
    assert elsewhere.records("s", "action") == [third]


def test_a_number_that_is_taken_by_another_is_a_conflict(origin: Worker, elsewhere: Worker) -> None:
    left = origin.everything("s")
    elsewhere.put("s", left)
    twin = left["action"][0].replace(b'"action_id":"1"', b'"action_id":"other"').decode()
    refused = elsewhere.do("import_records", f'{{"session_id": "s", "kind": "action", "records": [{twin}]}}')
    assert (refused["code"], refused["details"]["key"]) == ("conflict", "other")


def test_another_session_under_the_id_is_a_conflict(origin: Worker, elsewhere: Worker) -> None:
    elsewhere.do("create_session", session_id="s", title="Another")
    refused = elsewhere.put("s", {"session": origin.everything("s")["session"]})[0]
    assert refused["code"] == "conflict"


def test_a_session_in_which_something_happened_since_keeps_its_counters(origin: Worker, elsewhere: Worker) -> None:
    left = origin.everything("s")
    elsewhere.put("s", left)
    elsewhere.do("archive_session", session_id="s")
    elsewhere.put("s", {"session": left["session"]})
    session = elsewhere.ask("get_session", session_id="s")["session"]
    assert (session["status"], session["seq"]) == ("archived", orjson.loads(left["session"][0])["seq"] + 1)


def test_an_imported_memory_is_found_and_recognised(origin: Worker, elsewhere: Worker) -> None:
    elsewhere.put("s", origin.everything("s"))
    assert [hit["id"] for hit in elsewhere.ask("search", q="two")["hits"]] == ["k"]
    hashes = "select key, content_hash from memories order by key"
    assert elsewhere.sql(hashes) == origin.sql(hashes)


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("import_records", {"session_id": "nobody", "kind": "action", "records": []}, "not_found"),
        ("import_memories", {"session_id": "nobody", "records": []}, "not_found"),
        ("import_records", {"session_id": "s", "kind": "action", "records": {}}, "invalid"),
        ("import_records", {"session_id": "s", "kind": "action", "records": [1]}, "invalid"),
        ("import_records", {"session_id": "s", "kind": "goal", "records": [{"goal_id": "g"}]}, "invalid"),
        ("import_records", {"session_id": "s", "kind": "action", "records": [{}] * 501}, "invalid"),
        ("import_session", {"session_id": "x", "session": {"title": 1}}, "invalid"),
        ("import_session", {"session_id": "x", "session": []}, "invalid"),
    ],
)
def test_what_is_no_record_is_refused(origin: Worker, name: str, data: dict[str, Any], code: str) -> None:
    assert origin.do(name, data)["code"] == code


def test_records_of_no_session_are_not_found(origin: Worker) -> None:
    assert origin.ask("export_records", session_id="nobody", kind="action")["code"] == "not_found"
