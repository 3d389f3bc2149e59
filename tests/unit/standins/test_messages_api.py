"""The stand-in for the Messages API, asked over HTTP without an SDK."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from standins.messages_api import MessagesAPI
from tests.waiting import eventually

HTTP = httpx.Client(timeout=5, trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))
TOOLS = [{"name": "mcp__switchyard__store_memory", "input_schema": {}}]


@pytest.fixture
def api() -> Iterator[MessagesAPI]:
    with MessagesAPI() as server:
        yield server


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def ask(api: MessagesAPI, *messages: dict[str, Any], **fields: Any) -> httpx.Response:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": list(messages), **fields}
    return HTTP.post(f"{api.url}/v1/messages", json=body, headers={"x-api-key": "sk-secret"})


def text(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    said: str = response.json()["content"][-1]["text"]
    return said


def events(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    found = [block.split("\n") for block in response.text.split("\n\n") if block]
    for name, data in found:
        assert name.removeprefix("event: ") == json.loads(data.removeprefix("data: "))["type"]
    return [json.loads(data.removeprefix("data: ")) for _, data in found]


def test_an_answer_streams_in_the_order_of_the_api(api: MessagesAPI) -> None:
    sent = events(ask(api, user("[[think first]] [[say one two three four five six seven eight]]"), stream=True))

    names = [each["type"] for each in sent]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert [each["index"] for each in sent if each["type"] == "content_block_stop"] == [0, 1]
    assert sent[0]["message"]["content"] == []
    assert sent[0]["message"]["usage"]["input_tokens"] > 0
    thinking = [each["delta"] for each in sent if each.get("index") == 0 and "delta" in each]
    assert [each["type"] for each in thinking] == ["thinking_delta", "signature_delta"]
    said = [each["delta"]["text"] for each in sent if each.get("index") == 1 and "delta" in each]
    assert len(said) > 1
    assert "".join(said) == "one two three four five six seven eight"
    assert sent[-2]["delta"]["stop_reason"] == "end_turn"
    assert sent[-2]["usage"]["output_tokens"] > 0


def test_it_remembers_only_what_it_is_sent(api: MessagesAPI) -> None:
    earlier = [user("My colour is green"), {"role": "assistant", "content": "noted"}]

    assert text(ask(api, *earlier, user("[[recall colour]]"))) == "My colour is green"
    assert text(ask(api, user("[[recall colour]]"))) == "I don't remember: colour"
    assert "message 2 of this conversation" in text(ask(api, *earlier, user("and?")))


def test_the_last_of_merged_turns_is_the_question_and_notes_of_the_client_are_none(api: MessagesAPI) -> None:
    messages = [
        user("<system-reminder>\nToday\n</system-reminder>", "one"),
        {"role": "system", "content": "You are kind."},
        user("[Request interrupted by user]", "two [[echo]]", "<system-reminder>tools</system-reminder>"),
    ]

    assert text(ask(api, *messages)) == "two"
    assert api.requests[-1].prompts == ["one", "two [[echo]]"]


def test_tools_are_called_one_after_the_other_and_their_results_told(api: MessagesAPI) -> None:
    prompt = user('[[tool store_memory {"key": "a]]"}]] [[tool store_memory {"key": "b"}]]')
    messages = [prompt]
    for key in ("a]]", "b"):
        answer = ask(api, *messages, tools=TOOLS).json()
        call = answer["content"][0]
        assert answer["stop_reason"] == "tool_use"
        assert (call["name"], call["input"]) == ("mcp__switchyard__store_memory", {"key": key})
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": f"kept {key}"}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]

    assert text(ask(api, *messages, tools=TOOLS)) == "store_memory answered: kept a]]\nstore_memory answered: kept b"


def test_what_the_user_sends_while_a_tool_is_at_work_is_the_question(api: MessagesAPI) -> None:
    call = ask(api, user("[[tool store_memory {}]]"), tools=TOOLS).json()["content"][0]
    note = (
        "<system-reminder>\nThe user sent a new message while you were working:\nhurry [[echo]]\n\n"
        "This is how Claude Code surfaces messages.\n</system-reminder>"
    )
    parts = [{"type": "text", "text": "kept\n"}, {"type": "text", "text": note}]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": parts}]}
    messages = [user("[[tool store_memory {}]]"), {"role": "assistant", "content": [call]}, result]

    assert text(ask(api, *messages, tools=TOOLS)) == "hurry"


def test_a_tool_that_was_not_offered_is_missed(api: MessagesAPI) -> None:
    said = text(ask(api, user("[[tool forget {}]]"), tools=TOOLS))
    assert said == "There is no tool forget here; there are: mcp__switchyard__store_memory"
    assert ask(api, user("[[blind forget {}]]"), tools=TOOLS).json()["content"][0]["name"] == "forget"


def test_a_conversation_that_the_api_would_refuse_is_refused(api: MessagesAPI) -> None:
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "x", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "y"}]}

    for messages, reason in [
        ([user("a"), call, user("b")], "without `tool_result` blocks after: t1"),
        ([user("a"), result], "unexpected `tool_use_id` found in `tool_result` blocks: t2"),
        ([user(" ")], "non-whitespace text"),
        ([], "at least one message"),
        ([{"role": "robot", "content": "a"}], "messages.0.role"),
    ]:
        refused = ask(api, *messages)
        assert refused.status_code == 400
        assert reason in refused.json()["error"]["message"]
    assert api.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors_are_those_of_the_api(api: MessagesAPI, status: int, kind: str) -> None:
    refused = ask(api, user(f"[[error {status} retry-after=7]]"), stream=True)

    assert refused.status_code == status
    assert refused.headers["retry-after"] == "7"
    assert refused.json()["error"]["type"] == kind


def test_trouble_comes_as_often_as_it_is_asked_for(api: MessagesAPI) -> None:
    statuses = [ask(api, user("[[error 529 times=2]] hello")).status_code for _ in range(3)]
    assert statuses == [529, 529, 200]


@pytest.mark.parametrize("directive", ["cut 0", "cut 2"])
def test_an_answer_is_cut_off(api: MessagesAPI, directive: str) -> None:
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        ask(api, user(f"[[long 500]] [[{directive}]]"), stream=True)
    assert (api.requests[0].outcome, api.requests[0].pieces) == ("cut", int(directive[-1]))


def test_an_error_can_come_in_the_middle_of_a_stream(api: MessagesAPI) -> None:
    sent = events(ask(api, user("[[long 500]] [[break 1]]"), stream=True))
    assert sent[-1] == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.mark.parametrize("directive", ["hang", "stall 1", "wait 60", "pace 60"])
def test_silence_lasts_until_the_client_goes(api: MessagesAPI, directive: str) -> None:
    body = {"model": "m", "messages": [user(f"[[long 100]] [[{directive}]]")], "stream": True}
    with pytest.raises(httpx.ReadTimeout):
        HTTP.post(f"{api.url}/v1/messages", json=body, headers={"x-api-key": "k"}, timeout=0.2)
    eventually(lambda: api.requests[0].ended)
    assert api.requests[0].outcome == ("gone" if directive[0] in "wp" else directive.split()[0])


def test_the_test_directs_the_next_requests_whatever_they_say(api: MessagesAPI) -> None:
    api.next.extend(["[[error 500]]", "[[say first]]"])
    assert ask(api, user("hello")).status_code == 500
    assert text(ask(api, user("hello"))) == "first"
    assert "hello" in text(ask(api, user("hello")))

    HTTP.put(f"{api.url}/_standin/always", json={"directives": "[[say always]]"})
    assert text(ask(api, user("hello [[say else]]"))) == "always"


def test_a_server_that_is_down_refuses_and_comes_back_where_it_was(api: MessagesAPI) -> None:
    api.refuse()
    with pytest.raises(httpx.ConnectError):
        ask(api, user("hello"))
    api.listen()
    assert "hello" in text(ask(api, user("hello")))


def test_no_key_is_kept_and_one_is_needed(api: MessagesAPI) -> None:
    ask(api, user("hello"))
    seen = HTTP.get(f"{api.url}/_standin/requests").text

    assert json.loads(seen)[0]["outcome"] == "done"
    assert "sk-secret" not in seen
    assert HTTP.post(f"{api.url}/v1/messages", json={}).status_code == 401


def test_tokens_are_counted_or_told_as_directed(api: MessagesAPI) -> None:
    counted = HTTP.post(f"{api.url}/v1/messages/count_tokens", json={"messages": [user("a" * 400)]}).json()
    assert counted == {"input_tokens": 100 + 1}

    used = ask(api, user("[[usage input=10 output=5 cache_read=3 cache_creation=2]]")).json()["usage"]
    assert used == {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
    }
    assert ask(api, user("[[usage inptu=10]]")).status_code == 400
