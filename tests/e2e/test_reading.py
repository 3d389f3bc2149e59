"""Batch, search, timeline, statistics, redelivery, export and import, as programs outside use them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from cli.local.environment import ROOT
from cli.local.stack import Stack
from tests.e2e.conftest import Doors


def part(command: str, **data: Any) -> dict[str, Any]:
    return {"command": command, "data": data}


class Done(NamedTuple):
    """What became of a command of the command line."""

    exit_code: int
    stdout: str
    stderr: str


Switchyard = Callable[..., Done]


@pytest.fixture(scope="module")
def switchyard(stack: Stack) -> Iterator[Switchyard]:
    """Runs `switchyard …`, in one process for all: starting one takes half a second."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.command_line"],
        cwd=stack.data,
        env={**os.environ, **stack.environment.values, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(*words: str) -> Done:
            print(json.dumps(words), file=process.stdin, flush=True)
            return Done(**json.loads(process.stdout.readline()))

        yield run
        process.stdin.close()


def test_a_batch_happens_as_a_whole_or_not_at_all(doors: Doors) -> None:
    session_id = str(uuid4())
    commands = [
        part("create_session", session_id=session_id),
        part("store_memory", session_id=session_id, type="fact", key="k", content=1),
        part("log_action", session_id=session_id, type="step"),
        part("delegate_task", session_id=session_id, agent_name="codex", task_type="review"),
        part("get_session", session_id=session_id),
    ]
    with doors.listen(f"session.{session_id}.#", f"memory.{session_id}.#", f"task.{session_id}.#") as listener:
        results = doors.command("batch", commands=commands)["results"]
        events = [listener.next() for _ in range(4)]
    assert [next(iter(result)) for result in results] == ["session", "memory", "action", "task", "session"]
    assert [event["session_seq"] for event in events] == [1, 2, 3, 4]
    assert len({event["correlation_id"] for event in events}) == 1
    refused = doors.http.post(
        "/api/commands/batch",
        json={"commands": [part("complete_session", session_id=session_id), part("get_session", session_id="nobody")]},
    )
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert (refused.json()["details"]["index"], refused.json()["details"]["command"]) == (1, "get_session")
    assert doors.command("get_session", session_id=session_id)["session"]["status"] == "active"
    nested = doors.http.post("/api/commands/batch", json={"commands": [part("batch", commands=[])]})
    assert (nested.status_code, nested.json()["details"]["index"]) == (422, 0)
    many = doors.http.post("/api/commands/batch", json={"commands": [part("list_sessions")] * 101})
    assert many.status_code == 422


def test_a_batch_sent_again_happens_once(doors: Doors) -> None:
    session_id = doors.session()
    body = {"commands": [part("log_action", session_id=session_id, type="step")] * 3}
    headers = {"Idempotency-Key": str(uuid4())}
    first, second = (doors.http.post("/api/commands/batch", json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert len(doors.command("get_actions", session_id=session_id)["actions"]) == 3


def test_a_batch_waits_for_a_session_on_its_way(doors: Doors) -> None:
    session_id = str(uuid4())
    body = {"commands": [part("log_action", session_id=session_id, type="step")]}
    sent = doors.http.post("/api/commands/create_session", json={"session_id": session_id}, headers=ASYNC)
    assert sent.status_code == 202
    assert doors.http.post("/api/commands/batch", json=body).status_code == 200


ASYNC = {"Prefer": "respond-async"}


def test_the_search_page_finds_what_was_said_in_camel_case(doors: Doors) -> None:
    session_id, word = doors.session(), f"w{uuid4().hex}"
    doors.command(
        "conversation_chunk", session_id=session_id, chunk_id="c", content=f"We & they < all met {word} often"
    )
    doors.command("store_memory", session_id=session_id, key="m", type="fact", content={"x": word})
    doors.command("add_artifact", session_id=session_id, artifact_id="a", name="n", type="t", content=word)
    found = doors.http.get("/api/search", params={"q": word}).json()
    assert {(hit["kind"], hit["id"], hit["sessionId"]) for hit in found["hits"]} == {
        (kind, identifier, session_id) for kind, identifier in (("chunk", "c"), ("memory", "m"), ("artifact", "a"))
    }
    chunk = next(hit for hit in found["hits"] if hit["kind"] == "chunk")
    assert chunk["highlight"] == f"We &amp; they &lt; all met <mark>{word}</mark> often"
    page = doors.http.get("/api/search", params={"q": word, "limit": 2}).json()
    rest = doors.http.get("/api/search", params={"q": word, "cursor": page["next"]}).json()
    assert page["hits"] + rest["hits"] == found["hits"]
    assert doors.http.get("/api/search", params={"q": word, "sessionId": "nobody"}).json()["hits"] == []
    assert doors.http.get("/api/search", params={"q": word, "session_id": "nobody"}).json()["hits"] == []
    only = doors.http.get("/api/search", params={"q": word, "kinds": "chunk,artifact"}).json()["hits"]
    assert sorted(hit["kind"] for hit in only) == ["artifact", "chunk"]
    refused = doors.http.get("/api/search", params={"q": f"-{word}"})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def test_a_timeline_has_what_was_just_done(doors: Doors) -> None:
    session_id = doors.session()
    for n in range(5):
        doors.command("log_action", session_id=session_id, type=f"step-{n}")
    timeline = doors.command("get_timeline", session_id=session_id)
    assert [entry["session_seq"] for entry in timeline["entries"]] == [1, 2, 3, 4, 5, 6]
    assert (timeline["first_seq"], timeline["last_seq"], timeline["next"]) == (1, 6, None)
    assert [entry["action"]["type"] for entry in timeline["entries"][1:]] == [f"step-{n}" for n in range(5)]
    page = doors.command("get_timeline", session_id=session_id, limit=2, types=["action_logged"])
    rest = doors.command("get_timeline", session_id=session_id, types=["action_logged"], cursor=page["next"])
    assert [entry["session_seq"] for entry in page["entries"] + rest["entries"]] == [2, 3, 4, 5, 6]


def test_statistics_count_what_is_there(doors: Doors) -> None:
    before = doors.http.get("/api/query/stats").json()
    doors.command("log_action", session_id=doors.session(), type="step")
    after = doors.http.get("/api/query/stats").json()
    assert after["byStatus"]["active"] == before["byStatus"]["active"] + 1
    assert after["stats"]["actions"] == after["actions"] == before["actions"] + 1
    assert doors.http.get("/api/query/stats", params={"since": "soon"}).status_code == 422


def test_a_delivery_is_told_again(doors: Doors) -> None:
    delivery = str(uuid4())
    with doors.listen("webhook.github.#") as listener:
        doors.github("push", b'{"ref":1e2}', delivery=delivery)
        first = listener.next()
        told = doors.http.post(f"/api/deliveries/{delivery}/redeliver")
        again = listener.next()
    assert told.status_code == 200, told.text
    assert told.json()["message_id"] == again["message_id"] != first["message_id"]
    assert (again["redelivered"], again["payload"], again["trust"]) == (True, first["payload"], "untrusted")
    assert doors.http.post(f"/api/deliveries/{uuid4()}/redeliver").status_code == 404


def test_a_session_is_exported_and_comes_back(doors: Doors, switchyard: Switchyard, tmp_path: Path) -> None:
    session_id = f"team/{uuid4().hex[:8]}"
    doors.command("create_session", session_id=session_id, title="Exported")
    doors.command("update_state", session_id=session_id, patch={"phase": "x"})
    doors.command("add_goal", session_id=session_id, goal_id="g", description="d")
    doors.command("log_action", session_id=session_id, action_id="a", type="step")
    # As large as a command may bring it: its record is larger.
    doors.command("conversation_chunk", session_id=session_id, content="Idea: more. " * 40_000)
    doors.command("store_memory", session_id=session_id, key="k", type="fact", content="v")
    doors.command("complete_session", session_id=session_id)
    file, folder = tmp_path / "it.jsonl", tmp_path / "store"
    done = switchyard("export", session_id, "--out", str(file), "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["records"]["chunk"] == 1
    assert switchyard("export", session_id).stdout == file.read_text()
    assert switchyard("export", session_id, "-f", "folder", "-o", str(folder)).exit_code == 0
    (one,) = folder.iterdir()
    assert (one.name, json.loads((one / "state.json").read_text())["phase"]) == (session_id.replace("/", "%2F"), "x")
    for source, copy in ((file, "from-file"), (folder, "from-folder")):
        for count in (json.loads(done.stdout)["records"], {}):
            came = switchyard("import", str(source), "--session-id", f"{session_id}-{copy}", "--json")
            assert came.exit_code == 0, came.stderr
            assert json.loads(came.stdout)["imported"] == sum(count.values())
        lines = switchyard("export", f"{session_id}-{copy}").stdout.splitlines()
        assert lines[1:] == file.read_text().splitlines()[1:]
    assert doors.http.get(f"/api/state/{session_id}-from-folder".replace("team/", "team%2F")).json()["phase"] == "x"


def test_exit_codes_tell_what_went_wrong(switchyard: Switchyard, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("no json\n")
    (tmp_path / "empty").mkdir()
    assert switchyard("export", "nobody", "-o", str(tmp_path / "x")).exit_code == 4
    assert switchyard("export", "demo", "--json").exit_code == 2
    assert switchyard("import", str(tmp_path / "missing")).exit_code == 2
    assert switchyard("import", str(tmp_path / "none.jsonl")).exit_code == 2
    assert switchyard("import", str(tmp_path / "empty")).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_a_store_of_another_program_moves_over(doors: Doors, switchyard: Switchyard, tmp_path: Path) -> None:
    names = [f"old-{uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        folder = tmp_path / "claude-sessions" / "sessions" / name
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(json.dumps({"sessionId": name, "createdAt": "2025-01-02T03:04:05Z"}))
        (folder / "state.json").write_text(json.dumps({"sessionId": name, "phase": "execution", "goals": []}))
        (folder / "actions.jsonl").write_text('{"type": "task_start", "timestamp": "2025-01-02T03:05:00Z"}\n')
        (folder / "responses.jsonl").write_text('{"content": "ok", "timestamp": "2025-01-02T03:06:00Z"}\n')
    came = switchyard("import", str(tmp_path / "claude-sessions"))
    assert came.exit_code == 0, came.stderr
    assert came.stderr.count("of") >= 2
    for name in names:
        assert doors.http.get(f"/api/state/{name}").json()["phase"] == "execution"
        logged = doors.command("get_actions", session_id=name)
        assert (logged["actions"][0]["number"], logged["responses"][0]["number"]) == (1, 2)
    refused = switchyard("import", str(tmp_path / "claude-sessions"), "--session-id", "x")
    assert refused.exit_code == 2
