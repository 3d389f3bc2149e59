"""The session API's routes without broker: each becomes the command it stands for, kept in the spool."""

from typing import Any

import pytest

from shared.auth import sign
from tests.unit.ingress.conftest import KEY, SECRET, Doors

WITH_KEY = {"X-API-Key": KEY}
pytestmark = pytest.mark.anyio

# Method, path, body; the command and its data.
WRITES: list[tuple[str, str, bytes, str, dict[str, Any]]] = [
    (
        "POST", "/api/actions/s1",
        b'{"type":"tool_use","timestamp":"2026-01-31T12:00:00Z","actionId":"a1","agent_id":"x","tool":"grep","n":1e2}',
        "log_action",
        {"session_id": "s1", "type": "tool_use", "timestamp": "2026-01-31T12:00:00Z", "action_id": "a1",
         "agent_id": "x", "details": {"tool": "grep", "n": 100}},
    ),
    (
        "POST", "/api/actions/s1/responses", b'{"actionId":"a1","content":{"text_part":"ok"},"sessionId":"s1"}',
        "log_response", {"session_id": "s1", "action_id": "a1", "content": {"text_part": "ok"}},
    ),
    ("POST", "/api/actions/a/b/responses", b"", "log_response", {"session_id": "a/b"}),
    (
        "PATCH", "/api/state/s1", b'{"currentStep":"x","snake_case":{"someKey":null}}',
        "update_state", {"session_id": "s1", "patch": {"currentStep": "x", "snake_case": {"someKey": None}}},
    ),
    (
        "POST", "/api/state/s1/goals", b'{"goalId":"g1","description":"d","priority":"high","due":"now"}',
        "add_goal",
        {"session_id": "s1", "goal_id": "g1", "description": "d", "priority": "high", "metadata": {"due": "now"}},
    ),
    (
        "PATCH", "/api/state/s1/goals/g1", b'{"status":"completed"}',
        "update_goal", {"session_id": "s1", "goal_id": "g1", "status": "completed"},
    ),
    (
        "POST", "/api/state/s1/agents", b'{"agentId":"a1","type":"processor","status":"active"}',
        "spawn_agent", {"session_id": "s1", "agent_id": "a1", "type": "processor", "metadata": {"status": "active"}},
    ),
    (
        "POST", "/api/state/s1/agents/a1/complete", b'{"result":{"n_m":1}}',
        "complete_agent", {"session_id": "s1", "agent_id": "a1", "result": {"n_m": 1}},
    ),
    ("POST", "/api/state/s1/agents/a1/complete", b"", "complete_agent", {"session_id": "s1", "agent_id": "a1"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "command", "data"), WRITES)
async def test_a_route_is_its_command(
    doors: Doors, method: str, path: str, body: bytes, command: str, data: dict[str, Any]
) -> None:
    got = await doors.send(method, path, body, {**WITH_KEY, "Idempotency-Key": "m1", "X-Agent-Id": "ada"})
    assert got.status == 202, got.body
    (kept,) = await doors.kept()
    assert (kept["command"], kept["data"]) == (command, data)
    assert (kept["message_id"], kept["sender_agent_id"]) == ("m1", "ada")


@pytest.mark.parametrize(("method", "path", "body"), [case[:3] for case in WRITES])
async def test_a_write_wants_a_key_that_may_publish(doors: Doors, method: str, path: str, body: bytes) -> None:
    reader = {"Authorization": f"Bearer {sign(SECRET, 'api', {'name': 'r', 'scopes': ['read']}, ttl_s=60)}"}
    assert (await doors.send(method, path, body)).status == 401
    assert (await doors.send(method, path, body, reader)).status == 403
    assert (await doors.send(method, path, b"[]", WITH_KEY)).status == 422
    assert (await doors.send(method, path, b"{nonsense", WITH_KEY)).status == 422
    assert (await doors.send(method, path, b'{"x":"' + b"x" * 1_000_000 + b'"}', WITH_KEY)).status == 413
    assert await doors.kept() == []


@pytest.mark.parametrize("path", ["/api/actions/s1", "/api/actions/a/b", "/api/state/s1", "/api/query/extractions",
    "/api/query/sessions", "/api/query/stats/agent/codex", "/api/query/stats/agent/a/b"])  # fmt: skip
async def test_a_read_asks_the_worker_and_wants_a_key(doors: Doors, path: str) -> None:
    assert (await doors.send("GET", path)).status == 401
    assert (await doors.send("GET", path, headers=WITH_KEY)).status == 503


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/api/actions/s1", b"{}", "type"),
        ("POST", "/api/actions/s1", b'{"type":"x","timestamp":"yesterday"}', "timestamp"),
        ("POST", "/api/actions/s1", b'{"type":"x","sessionId":"s2"}', "sessionId"),
        ("POST", "/api/actions/" + "s" * 256, b'{"type":"x"}', "session_id"),
        ("POST", "/api/actions/s%1F1", b'{"type":"x"}', "session_id"),
        ("POST", "/api/actions/s1/responses", b'{"responseId":""}', "response_id"),
        ("PATCH", "/api/state/s1", b'{"goals":[]}', "patch"),
        ("PATCH", "/api/state/s1", b'{"sessionId":"s1"}', "patch"),
        ("POST", "/api/state/s1/goals", b'{"description":null}', "description"),
        ("POST", "/api/state/s1/goals", b'{"description":"d","status":"done"}', "status"),
        ("PATCH", "/api/state/s1/goals/g1", b'{"priority":"urgent"}', "priority"),
        ("POST", "/api/state/s1/agents", b'{"agentId":"a"}', "type"),
        ("POST", "/api/state/s1/agents/a/complete", b'{"status":"active"}', "status"),
    ],
)
async def test_a_wrong_field_is_422_and_named(doors: Doors, method: str, path: str, body: bytes, field: str) -> None:
    got = await doors.send(method, path.replace("%1F", "\x1f"), body, WITH_KEY)
    assert (got.status, got.headers["content-type"]) == (422, "application/problem+json")
    assert field in [fault["field"] for fault in got.json()["details"]["fields"]]
    assert await doors.kept() == []


@pytest.mark.parametrize("query", ["kind=actions", "limit=0", "limit=501", "cursor=" + "c" * 4_001])
async def test_a_wrong_parameter_of_a_page_is_422(doors: Doors, query: str) -> None:
    got = await doors.send("GET", "/api/actions/s1", headers=WITH_KEY, query=query)
    assert (got.status, got.json()["details"]["fields"][0]["field"]) == (422, query.split("=")[0])


async def test_a_guarded_patch_carries_its_versions(doors: Doors) -> None:
    for headers in ([("If-Match", '"3"')], [("If-Match", '"3"'), ("If-Match", 'W/"4", "5"')], [("If-Match", 'W/"3"')],
                    [("If-Match", "*")]):  # fmt: skip
        got = await doors.send("PATCH", "/api/state/s1", b'{"a":1e2}', [("X-API-Key", KEY), *headers])
        assert got.status == 202, got.body
    kept = [message["data"].get("if_version", "any") for message in await doors.kept()]
    assert kept == [3, [3, 5], [], "any"]
    assert b'"patch":{"a":1e2}' in (await doors.kept_texts())[0]
    got = await doors.send("PATCH", "/api/state/s1", b"{}", {**WITH_KEY, "If-Match": "3"})
    assert (got.status, got.json()["details"]["fields"][0]["field"]) == (422, "If-Match")


async def test_other_methods_are_405(doors: Doors) -> None:
    for method, path in (("DELETE", "/api/state/s1"), ("PUT", "/api/actions/s1"), ("GET", "/api/sessions")):
        assert (await doors.send(method, path, headers=WITH_KEY)).status == 405


async def test_a_delivery_is_told_again_by_who_may_publish(doors: Doors) -> None:
    got = await doors.post("/api/deliveries/a/b/redeliver", b"", WITH_KEY)
    assert got.status == 202
    (kept,) = await doors.kept()
    assert (kept["command"], kept["data"]) == ("redeliver_delivery", {"delivery_id": "a/b"})
    reader = {"Authorization": f"Bearer {sign(SECRET, 'api', {'name': 'r', 'scopes': ['read']}, ttl_s=60)}"}
    refused = await doors.post("/api/deliveries/a/redeliver", b"", reader)
    assert (refused.status, refused.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("query", ["", "q=", f"q={'x' * 1001}", "q=x&limit=0", "q=x&kinds=film", "q=x&sessionId=",
    "q=x&session_id=", "q=x&sessionId=a&session_id=a"])  # fmt: skip
async def test_a_search_that_asks_wrongly_is_refused_as_a_problem(doors: Doors, query: str) -> None:
    got = await doors.send("GET", "/api/search", b"", WITH_KEY, query=query)
    assert (got.status, got.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("query", ["risk=none", "limit=0", "type=", "session=a&sessionId=b", "agent=a&agent=b", "run=x",
    "since=yesterday"])  # fmt: skip
async def test_a_query_that_asks_wrongly_is_refused_as_a_problem(doors: Doors, query: str) -> None:
    got = await doors.send("GET", "/api/query/extractions", b"", WITH_KEY, query=query)
    assert (got.status, got.json()["code"]) == (422, "invalid")
