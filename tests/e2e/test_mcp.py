"""The MCP door with the client library agents use, in both ages of the protocol, against every service."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from cli.local.stack import Stack
from tests.e2e.conftest import Doors

pytestmark = pytest.mark.anyio
# The handshake of 2025's protocols, and what the library itself chooses, which is the newest.
MODES = ["legacy", "auto"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def connected(stack: Stack, mode: str = "auto", key: str | None = None) -> AsyncIterator[Client]:
    """A client with the stack's key, or another."""
    async with (
        create_mcp_http_client({"Authorization": f"Bearer {key or stack.api_key}"}) as http,
        Client(streamable_http_client(f"{stack.api_url}/mcp", http_client=http), mode=mode, cache=None) as client,
    ):
        yield client


async def refused(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """The error a tool returns."""
    result = await client.call_tool(name, arguments)
    assert result.is_error
    error: dict[str, Any] = result.structured_content["error"]
    return error


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_opens_a_session_and_keeps_a_memory(stack: Stack, mode: str) -> None:
    session_id = f"mcp-{uuid4().hex[:8]}"
    async with connected(stack, mode) as client:
        assert client.server_info.name == "switchyard"
        assert "create_session" in (client.instructions or "")
        created = await client.call_tool("create_session", {"session_id": session_id, "title": "From a tool"})
        assert not created.is_error
        assert created.structured_content["session"]["title"] == "From a tool"
        assert orjson.loads(created.content[0].text) == created.structured_content
        content = {"b": [1, 2.5, None], "a": 2**70, "c": "ümläut 🐎"}
        memory = {"session_id": session_id, "type": "fact", "key": "k", "content": content}
        assert not (await client.call_tool("store_memory", memory)).is_error
        found = await client.call_tool("retrieve_memory", {"session_id": session_id, "key": "k"})
        # The client library checks it against the tool's output schema as well.
        assert found.structured_content["memory"]["content"] == content


@pytest.mark.parametrize("mode", MODES)
async def test_a_refusal_is_the_tools_error_with_code_message_and_details(stack: Stack, mode: str) -> None:
    async with connected(stack, mode) as client:
        missing = await refused(client, "get_session", session_id="nobody")
        assert (missing["code"], missing["details"]) == ("not_found", {"session_id": "nobody"})
        assert "nobody" in missing["message"]
        wrong = await refused(client, "store_memory", session_id="s", type="nonsense", content=1)
        assert (wrong["code"], wrong["details"]["fields"][0]["field"]) == ("invalid", "type")


async def test_the_same_idempotency_key_happens_once(stack: Stack, doors: Doors) -> None:
    session_id, key = doors.session(), str(uuid4())
    arguments = {"session_id": session_id, "type": "fact", "content": "once"}
    async with connected(stack) as client:
        first = await client.call_tool("store_memory", arguments, meta={"idempotency_key": key})
        again = await client.call_tool("store_memory", arguments, meta={"idempotency_key": key})
        other = await client.call_tool("store_memory", arguments | {"content": "two"}, meta={"idempotency_key": key})
    assert first.structured_content == again.structured_content
    assert first.structured_content["memory"]["message_id"] == key
    assert other.structured_content["error"]["code"] == "conflict"
    # The id is the same at every door.
    over_http = doors.http.post("/api/commands/store_memory", json=arguments, headers={"Idempotency-Key": key})
    assert over_http.json() == first.structured_content


async def test_a_tool_may_wait(stack: Stack, doors: Doors) -> None:
    agent = f"agent-{uuid4().hex[:8]}"
    doors.command("register_agent", name=agent, type="reviewer")
    async with connected(stack) as client:
        begun = time.perf_counter()
        claimed = await client.call_tool("claim_task", {"agent_name": agent, "worker_id": "w", "wait_s": 0.5})
    assert claimed.structured_content == {"tasks": []}
    assert time.perf_counter() - begun >= 0.5


async def test_a_key_for_one_session_is_offered_what_it_may_use(stack: Stack, doors: Doors) -> None:
    session_id = doors.session()
    made = doors.command("create_key", name=f"k-{session_id}", scopes=["read"], sessions=[session_id])
    async with connected(stack, key=made["secret"]) as client:
        offered = {tool.name for tool in (await client.list_tools()).tools}
        assert {"get_session", "search", "get_task"} <= offered
        assert not {"list_agents", "create_session", "list_keys"} & offered
        found = await client.call_tool("get_session", {"session_id": session_id})
        assert found.structured_content["session"]["session_id"] == session_id
        assert (await refused(client, "get_session", session_id="another"))["code"] == "forbidden"
        assert (await refused(client, "list_agents"))["code"] == "forbidden"


async def test_text_is_passed_on_as_it_was_written(stack: Stack, doors: Doors) -> None:
    session_id = doors.session()
    content = '{"z":1.10,"a":1e5,"n":1180591620717411303424,"s":"\\u00e9"}'
    body = (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"store_memory","arguments":'
        f'{{"session_id":"{session_id}","type":"fact","key":"k","content":{content}}}}}}}'
    )
    got = doors.http.post("/mcp", content=body, headers={"Content-Type": "application/json"})
    assert got.status_code == 200
    assert f'"content":{content}' in got.text.partition('"structuredContent":')[2]
    assert got.headers["content-length"] == str(len(got.content))
    stored = doors.http.post("/api/commands/retrieve_memory", json={"session_id": session_id, "key": "k"})
    assert f'"content":{content}' in stored.text


async def test_large_results_come_whole(stack: Stack, doors: Doors) -> None:
    session_id = doors.session()
    text = 'naïve "quoted" \\ text\n' * 20_000
    async with connected(stack) as client:
        await client.call_tool(
            "store_memory", {"session_id": session_id, "type": "context", "key": "large", "content": text}
        )
        found = await client.call_tool("retrieve_memory", {"session_id": session_id, "key": "large"})
        assert found.structured_content["memory"]["content"] == text
        assert orjson.loads(found.content[0].text) == found.structured_content


async def test_a_tool_is_not_much_slower_than_the_command_over_http(stack: Stack, doors: Doors) -> None:
    session_id = doors.session()
    data = {"session_id": session_id}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_session", "arguments": data}}

    def median(path: str, body: Any) -> float:
        times = []
        for _ in range(60):
            begun = time.perf_counter()
            answer = doors.http.post(path, json=body)
            times.append(time.perf_counter() - begun)
            assert answer.status_code == 200
        return sorted(times)[30]

    over_http = median("/api/commands/get_session", data)
    as_a_tool = median("/mcp", call)
    assert as_a_tool < over_http + 0.01, (as_a_tool, over_http)
