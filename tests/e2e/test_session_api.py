"""The session API as a client of the older design uses it: its README's lines, its state, its agents' calls."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import jsonschema
import pytest

from tests.e2e.conftest import Doors

# "Manual Testing" and "Quick Start" of that README, to the letter.
CREATE = """\
curl -X POST http://localhost:9000/api/sessions \\
  -H "Content-Type: application/json" \\
  -d '{
    "sessionId": "test-123",
    "userId": "user-alice",
    "initial": {"task": "example"}
  }'
"""
STATE = "curl http://localhost:9000/api/state/test-123"
RECENT = "curl http://localhost:9000/api/query/recent"
HEALTH = "curl http://localhost:9000/health"

# "Session Data Structure" of that README: its example of a state, and the schema of what it shows.
EXAMPLE: dict[str, Any] = json.loads("""
{
  "sessionId": "test-123",
  "phase": "execution",
  "currentStep": "processing",
  "workspace": { "cwd": "/app" },
  "goals": [
    {
      "goalId": "goal-001",
      "description": "Process data",
      "status": "in_progress",
      "priority": "high"
    }
  ],
  "agents": [
    {
      "agentId": "agent-001",
      "type": "processor",
      "status": "active"
    }
  ]
}
""")
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["sessionId", "phase", "currentStep", "workspace", "goals", "agents"],
    "properties": {
        "sessionId": {"type": "string"},
        "phase": {"type": "string"},
        "currentStep": {"type": "string"},
        "workspace": {"type": "object", "required": ["cwd"], "properties": {"cwd": {"type": "string"}}},
        "goals": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["goalId", "description", "status", "priority"],
                "properties": {
                    "goalId": {"type": "string"},
                    "description": {"type": "string"},
                    "status": {"enum": ["pending", "in_progress", "completed", "blocked", "abandoned"]},
                    "priority": {"enum": ["low", "medium", "high", "critical"]},
                },
            },
        },
        "agents": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["agentId", "type", "status"],
                "properties": {
                    "agentId": {"type": "string"},
                    "type": {"type": "string"},
                    "status": {"enum": ["active", "completed", "failed"]},
                },
            },
        },
    },
}


@pytest.fixture
def curl(doors: Doors, tmp_path: Path) -> Callable[[str], Any]:
    """Runs a line of the README: only the address is ours, and the key comes from curl's own settings."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / ".curlrc").write_text(
        f'silent\nfail-with-body\nheader = "X-API-Key: {doors.http.headers["X-API-Key"]}"\n'
    )

    def run(line: str) -> Any:
        here = line.replace("http://localhost:9000", str(doors.http.base_url).rstrip("/"))
        done = subprocess.run(
            ["sh", "-c", here],
            env={"PATH": "/usr/bin:/bin", "CURL_HOME": str(tmp_path)},
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


def test_the_lines_of_the_readme_work_as_they_stand(doors: Doors, curl: Callable[[str], Any]) -> None:
    opened = curl(CREATE)
    assert (opened["sessionId"], opened["userId"], opened["initial"]) == ("test-123", "user-alice", {"task": "example"})
    assert opened["session"]["sessionId"] == "test-123"
    state = curl(STATE)
    assert {name: state[name] for name in ("sessionId", "task", "goals", "agents")} == {
        "sessionId": "test-123", "task": "example", "goals": [], "agents": [],
    }  # fmt: skip
    assert state["state"]["task"] == "example"
    assert "test-123" in [session["sessionId"] for session in curl(RECENT)["sessions"]]
    assert curl(HEALTH)["status"] == "ok"

    # And what they begin grows into the state that it shows.
    http = doors.http
    patch = {name: EXAMPLE[name] for name in ("phase", "currentStep", "workspace")} | {"task": None}
    assert http.patch("/api/state/test-123", json=patch).status_code == 200
    assert http.post("/api/state/test-123/goals", json=EXAMPLE["goals"][0]).status_code == 201
    assert (
        http.post("/api/state/test-123/agents", json={"agentId": "agent-001", "type": "processor"}).status_code == 201
    )
    state = curl(STATE)
    jsonschema.validate(EXAMPLE, SCHEMA)
    jsonschema.validate(state, SCHEMA)
    jsonschema.validate(state["state"], SCHEMA)
    assert list(state["state"]) == list(EXAMPLE)
    for name, shown in EXAMPLE.items():
        if name in ("goals", "agents"):
            assert [{key: part[key] for key in shown[0]} for part in state[name]] == shown
        else:
            assert state[name] == shown


class HookAgent:
    """The calls of that design's hook agent, as its README shows them."""

    def __init__(self, http: httpx.Client, session_id: str) -> None:
        self._http = http
        self._session_id = session_id

    def log_action(self, action: dict[str, Any]) -> Any:
        return self._send("POST", f"/api/actions/{self._session_id}", action)

    def log_response(self, response: dict[str, Any]) -> Any:
        return self._send("POST", f"/api/actions/{self._session_id}/responses", response)

    def update_state(self, updates: dict[str, Any]) -> Any:
        return self._send("PATCH", f"/api/state/{self._session_id}", updates)

    def add_goal(self, goal: dict[str, Any]) -> Any:
        return self._send("POST", f"/api/state/{self._session_id}/goals", goal)

    def update_goal(self, goal_id: str, updates: dict[str, Any]) -> Any:
        return self._send("PATCH", f"/api/state/{self._session_id}/goals/{goal_id}", updates)

    def spawn_agent(self, agent: dict[str, Any]) -> Any:
        return self._send("POST", f"/api/state/{self._session_id}/agents", agent)

    def complete_agent(self, agent_id: str, result: dict[str, Any]) -> Any:
        return self._send("POST", f"/api/state/{self._session_id}/agents/{agent_id}/complete", result)

    def actions(self) -> Any:
        return self._send("GET", f"/api/actions/{self._session_id}", None)

    def state(self) -> Any:
        return self._send("GET", f"/api/state/{self._session_id}", None)

    def _send(self, method: str, path: str, body: Any) -> Any:
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()


def test_an_agent_of_the_older_design_works_unchanged(doors: Doors) -> None:
    session_id = f"api-{uuid4().hex[:8]}"
    assert doors.http.post("/api/sessions", json={"sessionId": session_id}).status_code == 201
    agent = HookAgent(doors.http, session_id)
    with doors.listen(f"session.{session_id}.#") as listener:
        moment = datetime.now(UTC).replace(tzinfo=None).isoformat() + "Z"
        action = agent.log_action(
            {"type": "task_start", "timestamp": moment, "details": {"task": "process_data", "batch_size": 10}}
        )
        answered = agent.log_response({"actionId": action["actionId"], "content": "done", "tokens": 12})
        agent.update_state({"phase": "execution", "currentStep": "processing", "some_own_name": {"k_v": 1}})
        goal = agent.add_goal({"description": "Process data", "priority": "high", "dueBy": "friday"})
        changed = agent.update_goal(goal["goalId"], {"status": "in_progress"})
        spawned = agent.spawn_agent({"type": "processor", "model_name": "m"})
        done = agent.complete_agent(spawned["agentId"], {"rows_done": 7})
        events = [listener.next() for _ in range(7)]
    assert (action["type"], action["number"], action["details"]) == (
        "task_start", 1, {"task": "process_data", "batch_size": 10},
    )  # fmt: skip
    assert datetime.fromisoformat(action["timestamp"]) == datetime.fromisoformat(moment)
    assert action["action"]["actionId"] == action["actionId"]
    assert (answered["actionId"], answered["number"]) == (action["actionId"], 2)
    assert (answered["content"], answered["details"]) == ("done", {"tokens": 12})
    assert (goal["status"], goal["metadata"], changed["status"]) == ("pending", {"dueBy": "friday"}, "in_progress")
    assert (spawned["status"], spawned["metadata"]) == ("active", {"model_name": "m"})
    assert (done["status"], done["result"], done["agent"]["agentId"]) == (
        "completed", {"rows_done": 7}, spawned["agentId"],
    )  # fmt: skip
    state = agent.state()
    assert (state["phase"], state["currentStep"], state["some_own_name"]) == ("execution", "processing", {"k_v": 1})
    assert ([each["goalId"] for each in state["goals"]], [each["agentId"] for each in state["agents"]]) == (
        [goal["goalId"]], [spawned["agentId"]],
    )  # fmt: skip
    page = agent.actions()
    assert page == {"actions": [action["action"]], "responses": [answered["response"]], "next": None}
    assert [event["type"] for event in events] == [
        "action_logged", "response_logged", "state_updated", "goal_added", "goal_updated", "agent_spawned",
        "agent_completed",
    ]  # fmt: skip
    assert [event["session_seq"] for event in events] == list(range(2, 9))
    told = doors.http.get(f"/api/sessions/{session_id}").json()
    assert (told["actionCount"], told["responseCount"]) == (1, 1)


@pytest.fixture
def state(doors: Doors) -> Iterator[str]:
    """The path of a fresh session's state."""
    yield f"/api/state/{doors.session()}"


def test_a_state_is_guarded_by_its_tag(doors: Doors, state: str) -> None:
    http = doors.http
    first = http.get(state)
    tag = first.headers["ETag"]
    assert tag == '"0"'
    patched = http.patch(state, json={"a": 1}, headers={"If-Match": tag})
    assert (patched.status_code, patched.headers["ETag"], patched.json()["a"]) == (200, '"1"', 1)
    for stale in (tag, f"W/{patched.headers['ETag']}", '"x"', f'{tag}, "7"'):
        refused = http.patch(state, json={"a": 2}, headers={"If-Match": stale})
        assert (refused.status_code, refused.json()["code"]) == (412, "conflict"), stale
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["details"]["version"] == 1
    for fresh in ("*", '"1", "2"', '"0", "3"'):
        assert http.patch(state, json={"a": fresh}, headers={"If-Match": fresh}).status_code == 200
    assert http.get(state).headers["ETag"] == '"4"'
    # A goal changes the state too.
    assert http.post(f"{state}/goals", json={"description": "d"}).status_code == 201
    assert http.patch(state, json={"a": 5}, headers={"If-Match": '"4"'}).status_code == 412


def test_a_state_that_is_known_is_not_sent_again(doors: Doors, state: str) -> None:
    http = doors.http
    tag = http.patch(state, json={"a": 1}).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        got = http.get(state, headers={"If-None-Match": known})
        assert (got.status_code, got.content, got.headers["ETag"]) == (304, b"", tag), known
    assert http.get(state, headers={"If-None-Match": '"0"'}).json()["a"] == 1
    assert http.head(state).headers["ETag"] == tag


def test_a_patch_sent_twice_happens_once(doors: Doors, state: str) -> None:
    headers = {"If-Match": '"0"', "Idempotency-Key": str(uuid4()), "Content-Type": "application/merge-patch+json"}
    first = doors.http.patch(state, content=b'{"n":1.50,"big":36893488147419103232}', headers=headers)
    again = doors.http.patch(state, content=b'{"n":1.50,"big":36893488147419103232}', headers=headers)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert b'"n":1.50,"big":36893488147419103232' in doors.http.get(state).content
    other = doors.http.patch(state, content=b'{"n":2}', headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


def test_ids_with_slashes_reach_their_session(doors: Doors) -> None:
    mark = uuid4().hex[:8]
    session_id, inner = f"team/{mark}/goals/x", f"team/{mark}"
    for each in (session_id, inner):
        assert doors.http.post("/api/sessions", json={"sessionId": each}).status_code == 201
    encoded = quote(session_id, safe="")
    assert doors.http.patch(f"/api/state/{encoded}", json={"whose": "outer"}).json()["sessionId"] == session_id
    goal = doors.http.post(f"/api/state/{quote(inner, safe='')}/goals", json={"goalId": "x/y", "description": "d"})
    assert goal.json()["sessionId"] == inner
    changed = doors.http.patch(f"/api/state/{quote(inner, safe='')}/goals/x%2Fy", json={"status": "blocked"})
    assert (changed.status_code, changed.json()["status"]) == (200, "blocked")
    assert doors.http.post(f"/api/actions/{encoded}", json={"type": "t"}).json()["sessionId"] == session_id
    ended = f"{inner}/responses"
    assert doors.http.post("/api/sessions", json={"sessionId": ended}).status_code == 201
    assert doors.http.post(f"/api/actions/{quote(ended, safe='')}", json={"type": "t"}).json()["sessionId"] == ended
    assert doors.http.get(f"/api/state/{encoded}").json()["whose"] == "outer"
    assert doors.http.get(f"/api/sessions/{encoded}").json()["sessionId"] == session_id


def test_refusals_are_problems_with_their_status(doors: Doors, state: str) -> None:
    http = doors.http
    closed = doors.session()
    assert http.post("/api/commands/complete_session", json={"session_id": closed}).status_code == 200
    goal = {"goalId": "g1", "description": "d"}
    assert http.post(f"{state}/goals", json=goal).status_code == 201
    cases: list[tuple[str, str, Any, int, str]] = [
        ("GET", "/api/state/nowhere", None, 404, "not_found"),
        ("GET", "/api/actions/nowhere", None, 404, "not_found"),
        ("PATCH", f"{state}/goals/none", {"status": "blocked"}, 404, "not_found"),
        ("POST", f"{state}/agents/none/complete", {}, 404, "not_found"),
        ("POST", f"{state}/goals", goal, 409, "conflict"),
        ("PATCH", f"/api/state/{closed}", {"a": 1}, 409, "conflict"),
        ("POST", f"/api/actions/{closed}", {"type": "t"}, 409, "conflict"),
        ("POST", f"/api/state/{closed}/goals", {"description": "d"}, 409, "conflict"),
        ("PATCH", state, {"goals": []}, 422, "invalid"),
        ("PATCH", f"{state}/goals/g1", {}, 422, "invalid"),
        ("POST", f"{state}/agents", {}, 422, "invalid"),
    ]
    for method, path, body, status, code in cases:
        got = http.request(method, path, json=body)
        assert (got.status_code, got.json()["code"]) == (status, code), (method, path, got.text)
        assert got.headers["Content-Type"] == "application/problem+json"
        assert len(got.json()["trace_id"]) == 32


def test_the_figures_are_told(doors: Doors) -> None:
    doors.command("log_action", session_id=doors.session(), type="t")
    told = doors.http.get("/api/query/stats").json()
    assert told["byStatus"]["active"] >= 1
    assert told["actions"] >= 1
    assert told["stats"]["meanDurationS"] == told["meanDurationS"]
    refused = doors.http.get("/api/query/stats", params={"since": "yesterday"})
    assert (refused.status_code, refused.json()["details"]["fields"][0]["field"]) == (422, "since")
