"""The MCP door: who may come in, what is listed, and what is answered when the broker is away."""

import gzip
from typing import Any

import orjson
import pytest

from services.ingress.mcp_tools import tools_for
from shared.auth import Caller, sign
from shared.messages import COMMANDS, decode_command
from shared.reach import Sessions
from tests.unit.ingress.conftest import KEY, SECRET, Doors, Got

pytestmark = pytest.mark.anyio
HEADERS = {"X-API-Key": KEY, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


async def rpc(doors: Doors, method: str, headers: dict[str, str] | None = None, **params: Any) -> Got:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await doors.post("/mcp", orjson.dumps(message), merged(headers or {}))


def merged(headers: dict[str, str]) -> dict[str, str]:
    """The usual headers and these; with a token, without the key."""
    given = HEADERS | headers
    return {name: value for name, value in given.items() if name != "X-API-Key" or "Authorization" not in headers}


async def call(doors: Doors, name: str, arguments: bytes = b"{}", *, meta: bytes = b"{}", **headers: str) -> Any:
    """Call a tool without waiting for the reply; returns the tool's result."""
    body = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"%b","arguments":%b,"_meta":%b}}'
    got = await doors.post(
        "/mcp", body % (name.encode(), arguments, meta), merged({"Prefer": "respond-async", **headers})
    )
    assert got.status == 200, got.body
    return got.json()["result"]


def bearer(*scopes: str) -> dict[str, str]:
    token = sign(SECRET, "api", {"name": "tester", "scopes": scopes}, ttl_s=60)
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
async def test_without_the_right_key_everything_is_401(doors: Doors, method: str, headers: dict[str, str]) -> None:
    got = await doors.send(method, "/mcp", b"nonsense", {**headers, "Origin": "https://evil.example"})
    assert got.status == 401
    assert got.headers["www-authenticate"].startswith("Bearer")
    assert got.json()["code"] == "unauthorized"


async def test_the_key_may_be_a_bearer_token(doors: Doors) -> None:
    got = await rpc(doors, "ping", {"Authorization": f"Bearer {KEY}"})
    assert (got.status, got.json()["result"]) == (200, {})


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_another_method_than_post_is_405(doors: Doors, method: str) -> None:
    got = await doors.send(method, "/mcp", headers=HEADERS)
    assert (got.status, got.headers["allow"]) == (405, "POST")


async def test_pages_from_elsewhere_are_refused_and_any_host_is_taken(doors: Doors) -> None:
    assert (await rpc(doors, "ping", {"Host": "switchyard.example.com"})).status == 200
    for allowed in ("https://switchyard.example", "http://127.0.0.1:8000", "http://localhost:6274", "http://[::1]:80"):
        assert (await rpc(doors, "ping", {"Origin": allowed})).status == 200
    for foreign in (
        "https://evil.example",
        "http://evil.example:8000",
        "null",
        "http://127.0.0.1.evil.example",
        "http://[",
    ):
        got = await rpc(doors, "ping", {"Origin": foreign, "Host": foreign.partition("//")[2] or "x"})
        assert (got.status, got.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", ""])
async def test_another_content_type_is_415(doors: Doors, content_type: str) -> None:
    assert (await doors.post("/mcp", b"{}", HEADERS | {"Content-Type": content_type})).status == 415


async def test_what_the_client_accepts_must_be_json(doors: Doors) -> None:
    assert (await rpc(doors, "ping", {"Accept": "application/json"})).status == 200
    assert (await rpc(doors, "ping", {"Accept": "*/*"})).status == 200
    assert (await rpc(doors, "ping", {"Accept": "text/event-stream"})).status == 406
    del (headers := dict(HEADERS))["Accept"]
    message = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert (await doors.post("/mcp", message, headers)).status == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":"\\u0000"}', "NUL"),
        (b"[" * 80 + b"]" * 80, "deeper"),
    ],
)
async def test_what_is_no_json_is_a_parse_error_that_says_why(doors: Doors, body: bytes, named: str) -> None:
    got = await doors.post("/mcp", body, HEADERS)
    assert got.status == 400
    assert got.json()["error"]["code"] == -32700
    assert named in got.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
        b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    ],
)
async def test_what_is_no_request_is_400(doors: Doors, body: bytes) -> None:
    got = await doors.post("/mcp", body, HEADERS)
    assert got.status == 400
    assert "error" in got.json()


async def test_a_body_may_come_compressed_and_bit_by_bit(doors: Doors) -> None:
    message = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    packed = await doors.post("/mcp", gzip.compress(message), HEADERS | {"Content-Encoding": "gzip"})
    assert (packed.status, packed.json()["result"]) == (200, {})
    pieces = [message[:7], message[7:20], message[20:]]
    assert (await doors.post("/mcp", headers=HEADERS, pieces=pieces)).json()["result"] == {}


async def test_a_body_over_1_mb_is_413(doors: Doors) -> None:
    assert (await doors.post("/mcp", b'"' + b"x" * 1_000_000 + b'"', HEADERS)).status == 413


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_client_of_any_version_can_begin(doors: Doors, version: str) -> None:
    client = {"name": "test", "version": "1"}
    got = await rpc(doors, "initialize", protocolVersion=version, capabilities={}, clientInfo=client)
    result = got.json()["result"]
    assert result["protocolVersion"] == version
    assert result["serverInfo"]["name"] == "switchyard"
    assert "create_session" in result["instructions"]
    begun = await doors.post("/mcp", b'{"jsonrpc":"2.0","method":"notifications/initialized"}', HEADERS)
    assert (begun.status, begun.body) == (202, b"")


async def test_there_is_a_tool_for_every_public_command_and_no_other(doors: Doors) -> None:
    tools = {tool["name"]: tool for tool in (await rpc(doors, "tools/list")).json()["result"]["tools"]}
    assert set(tools) == {spec.name for spec in COMMANDS.values() if spec.public}
    for name, tool in tools.items():
        spec = COMMANDS[name]
        assert tool["description"].startswith(spec.summary)
        assert orjson.dumps(spec.example).decode() in tool["description"]
        assert set(tool["inputSchema"]["properties"]) == set(spec.data.model_fields)
        assert set(tool["outputSchema"]["properties"]) == set(spec.result)
        assert tool["annotations"]["readOnlyHint"] == spec.reads
        assert tool["annotations"]["destructiveHint"] == spec.destructive
        assert tool["annotations"]["idempotentHint"] == spec.idempotent
        assert b"#/components" not in orjson.dumps(tool)


async def test_only_what_the_key_may_run_is_listed_and_run(doors: Doors) -> None:
    tools = (await rpc(doors, "tools/list", bearer("read"))).json()["result"]["tools"]
    assert {tool["name"] for tool in tools} == {s.name for s in COMMANDS.values() if s.public and s.scope == "read"}
    result = await call(doors, "create_session", **bearer("read"))
    assert (result["isError"], result["structuredContent"]["error"]["code"]) == (True, "forbidden")
    assert await doors.kept() == []


def test_a_key_for_some_sessions_is_offered_what_takes_a_session() -> None:
    confined = Caller("confined", frozenset({"read", "publish"}), sessions=Sessions(["s1"]))
    offered = {tool.name for tool in tools_for(confined)}
    assert {"create_session", "get_session", "query_memories", "claim_task", "batch"} <= offered
    assert not {"list_sessions", "list_agents", "list_keys"} & offered


@pytest.mark.parametrize("name", ["explode", "receive_webhook", ""])
async def test_an_unknown_tool_is_named_in_the_error(doors: Doors, name: str) -> None:
    got = await rpc(doors, "tools/call", name=name, arguments={})
    assert got.json()["error"]["code"] == -32602
    assert repr(name) in got.json()["error"]["message"]


@pytest.mark.parametrize("params", [{}, {"name": 7}, {"name": "create_session", "arguments": []}, {"arguments": {}}])
async def test_malformed_parameters_are_an_error_of_the_protocol(doors: Doors, params: dict[str, Any]) -> None:
    got = await rpc(doors, "tools/call", **params)
    assert got.json()["error"]["code"] == -32602


@pytest.mark.parametrize("method", ["resources/list", "prompts/list", "nonsense", "subscriptions/listen"])
async def test_what_is_not_offered_is_not_found(doors: Doors, method: str) -> None:
    assert (await rpc(doors, method)).json()["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (b'{"session_id":"s1","type":"fact"}', "content"),
        (b'{"session_id":"s1","type":"nonsense","content":1}', "type"),
        (b'{"session_id":"s1","type":"fact","content":1,"nonsense":1}', "nonsense"),
        (b'{"session_id":"s1","type":"fact","content":' + b"[" * 66 + b"]" * 66 + b"}", "deeper"),
    ],
)
async def test_wrong_arguments_are_the_tools_error_and_named(doors: Doors, arguments: bytes, named: str) -> None:
    result = await call(doors, "store_memory", arguments)
    assert result["isError"] is True
    error = result["structuredContent"]["error"]
    assert error["code"] == "invalid"
    assert named in error["message"]
    assert orjson.loads(result["content"][0]["text"]) == error
    assert await doors.kept() == []


async def test_a_command_goes_out_as_it_was_written_under_the_id_the_caller_chose(doors: Doors) -> None:
    result = await call(
        doors,
        "store_memory",
        b'{"session_id":"s1", "type":"fact", "content":{"z":1.10,"a":1e5,"n":1180591620717411303424}}',
        meta=b'{"idempotency_key":"m-1","progressToken":1}',
        **{"X-Agent-Id": "coder"},
    )
    error = result["structuredContent"]["error"]
    assert (error["code"], error["details"]["message_id"]) == ("timeout", "m-1")
    (text,) = await doors.kept_texts()
    command = decode_command(text)
    assert command.data.content.text == b'{"z":1.10,"a":1e5,"n":1180591620717411303424}'
    assert (command.message_id, command.sender_agent_id) == ("m-1", "coder")


@pytest.mark.parametrize("key", [b"7", b'""', b"{}", b'"a\\nb"', b'"' + b"x" * 256 + b'"'])
async def test_an_idempotency_key_that_is_no_id_is_refused(doors: Doors, key: bytes) -> None:
    result = await call(doors, "create_session", meta=b'{"idempotency_key":%b}' % key)
    assert result["structuredContent"]["error"]["code"] == "invalid"


async def test_a_reading_tool_says_that_the_broker_is_away(doors: Doors) -> None:
    result = await call(doors, "get_session", b'{"session_id":"s1"}')
    assert result["structuredContent"]["error"]["code"] == "unavailable"


async def test_arguments_may_be_left_out(doors: Doors) -> None:
    await rpc(doors, "tools/call", {"Prefer": "respond-async"}, name="create_session")
    await rpc(doors, "tools/call", {"Prefer": "respond-async"}, name="create_session", arguments=None)
    assert [message["data"] for message in await doors.kept()] == [{}, {}]
