"""What the stand-in is for: the real client takes it for the Messages API, in good days and in bad."""

from collections.abc import Callable
from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ResultMessage,
    StreamEvent,
    TextBlock,
    create_sdk_mcp_server,
    tool,
)

from standins.messages_api import MessagesAPI
from tests.waiting import eventually

pytestmark = pytest.mark.anyio
Options = Callable[..., ClaudeAgentOptions]


async def ask(client: ClaudeSDKClient, prompt: str) -> tuple[str, ResultMessage]:
    """The answer's text, and how the turn ended."""
    await client.query(prompt)
    return await answered(client)


async def answered(client: ClaudeSDKClient) -> tuple[str, ResultMessage]:
    said: list[str] = []
    async for message in client.receive_response():
        if isinstance(message, AssistantMessage):
            said += [block.text for block in message.content if isinstance(block, TextBlock)]
        elif isinstance(message, ResultMessage):
            return "\n".join(said), message
    raise AssertionError("the response ended without a result")


async def test_a_conversation_is_remembered_by_its_client_and_streams(api: MessagesAPI, options: Options) -> None:
    async with ClaudeSDKClient(options(include_partial_messages=True)) as client:
        said, result = await ask(client, "My colour is green [[usage input=1000 output=500]]")
        assert "My colour is green" in said
        assert (result.is_error, result.usage and result.usage["input_tokens"]) == (False, 1000)
        assert result.total_cost_usd == pytest.approx(1000 * 3e-6 + 500 * 15e-6)

        await client.query("[[recall colour]]")
        pieces = [m.event async for m in client.receive_response() if isinstance(m, StreamEvent)]
        deltas = [each["delta"]["text"] for each in pieces if each["type"] == "content_block_delta"]
        assert "".join(deltas) == "My colour is green [[usage input=1000 output=500]]".partition(" [[")[0]

    assert [each.outcome for each in api.requests] == ["done", "done"]
    assert api.requests[0].body["system"][-1]["text"] == "You are Bender."


async def test_a_resumed_conversation_is_remembered_and_a_text_is_sent_as_it_is(
    api: MessagesAPI, options: Options
) -> None:
    async with ClaudeSDKClient(options()) as client:
        _, result = await ask(client, "My colour is green @/etc/passwd")
    async with ClaudeSDKClient(options(resume=result.session_id)) as client:
        said, _ = await ask(client, "[[recall]]")
        cleared, _ = await ask(client, "/clear")

    assert said == "My colour is green @/etc/passwd"
    assert "You wrote: “/clear” That is message 3" in cleared
    assert "root:" not in str([each.body for each in api.requests])


async def test_a_tool_is_called_and_its_result_goes_into_the_answer(api: MessagesAPI, options: Options) -> None:
    kept: list[Any] = []

    @tool("store_memory", "Keep something", {"key": str})
    async def store_memory(given: dict[str, Any]) -> dict[str, Any]:
        kept.append(given)
        return {"content": [{"type": "text", "text": f"kept {given['key']}"}]}

    server = create_sdk_mcp_server("switchyard", tools=[store_memory])
    allowed = ["mcp__switchyard__store_memory"]
    async with ClaudeSDKClient(options(mcp_servers={"switchyard": server}, allowed_tools=allowed)) as client:
        said, result = await ask(client, '[[tool store_memory {"key": "release"}]]')

    assert said == "store_memory answered: kept release"
    assert kept == [{"key": "release"}]
    assert result.num_turns == 2


async def test_trouble_ends_the_turn_and_not_the_client(api: MessagesAPI, options: Options) -> None:
    statuses = {
        "error 401": 401,
        "error 429 retry-after=1": 429,
        "error 500": 500,
        "error 529": 529,
        "cut 2": None,
        "break 2": None,
    }
    # One client for all of them: starting one takes longer than all the rest.
    async with ClaudeSDKClient(options()) as client:
        await ask(client, "My colour is green")
        for directive, status in statuses.items():
            before = api.count
            said, result = await ask(client, f"[[long 500]] [[{directive}]]")

            assert (result.subtype, result.is_error, result.api_error_status) == ("success", True, status), directive
            assert "API Error" in said
            assert {each.outcome for each in api.requests[before:]} == {str(status or directive.split()[0])}
        recalled, _ = await ask(client, "[[recall colour]]")

    assert recalled == "My colour is green"


async def test_what_fails_once_is_tried_again_by_the_client(api: MessagesAPI, options: Options) -> None:
    async with ClaudeSDKClient(options(env={"CLAUDE_CODE_MAX_RETRIES": "1"})) as client:
        said, result = await ask(client, "hello [[error 529 times=1]]")

    assert not result.is_error
    assert "hello" in said
    assert [each.outcome for each in api.requests] == ["529", "done"]


async def test_an_interrupted_turn_ends_and_the_next_answer_is_for_the_next_question(
    api: MessagesAPI, options: Options
) -> None:
    async with ClaudeSDKClient(options()) as client:
        await client.query("first [[stall 1]] [[long 500]]")
        eventually(lambda: api.requests and api.requests[0].pieces)
        await client.interrupt()
        _, result = await answered(client)
        said, _ = await ask(client, "second [[echo]]")

    assert result.terminal_reason == "aborted_streaming"
    assert said == "second"
    eventually(lambda: api.requests[0].ended)


async def test_a_server_that_is_down_ends_the_turn(api: MessagesAPI, options: Options) -> None:
    async with ClaudeSDKClient(options()) as client:
        api.refuse()
        said, result = await ask(client, "hello")
        api.listen()
        again, _ = await ask(client, "hello again [[echo]]")

    assert (result.is_error, result.api_error_status) == (True, None)
    assert "API Error" in said
    assert again == "hello again"
