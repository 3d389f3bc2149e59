"""What a hook becomes."""

from typing import Any

import orjson
import pytest

from services.session_worker.hooks import MAX_TITLE, document_of, draft_of, opened
from shared.messages import Command, decode_command, encode_command


def received(hook: Any, event: str = "Stop") -> Command:
    data = {"session_id": "s1", "event": event, "hook": hook}
    return decode_command(encode_command("receive_claude_hook", data, message_id="m1", sender_agent_id="ada"))


@pytest.mark.parametrize(
    ("hook", "title"),
    [
        ({"cwd": "/home/ada/shop"}, "Claude Code in shop"),
        ({"cwd": "C:\\code\\shop"}, "Claude Code in shop"),
        ({"cwd": "/"}, "Claude Code"),
        ({}, "Claude Code"),
        ({"cwd": "/shop", "prompt": "\n  fix the till\nplease"}, "fix the till"),
        ({"cwd": "/shop", "prompt": " \n"}, "Claude Code in shop"),
        ({"cwd": 7, "prompt": ["x"]}, "Claude Code"),
        ({"prompt": "x" * 200}, "x" * (MAX_TITLE - 1) + "…"),
    ],
)
def test_a_session_is_called_after_its_prompt_or_its_folder(hook: dict[str, Any], title: str) -> None:
    assert opened(hook).title == title


def test_a_call_is_an_action_under_its_id_and_its_end_the_response_of_it() -> None:
    before = received({"tool_use_id": "t1", "tool_name": "Bash", "tool_input": {"x": 1}}, "PreToolUse")
    after = received({"tool_use_id": "t1", "tool_name": "Bash", "tool_response": {"stdout": "hi"}}, "PostToolUse")
    failed = received({"tool_use_id": "t1", "error": "no", "agent_id": "sub1"}, "PostToolUseFailure")
    kind, draft = draft_of(before, document_of(before))
    assert (kind, draft.id, draft.type, draft.agent_id) == ("action", "t1", "PreToolUse", "claude_code")
    assert orjson.loads(draft.details)["tool_input"] == {"x": 1}
    kind, draft = draft_of(after, document_of(after))
    assert (kind, draft.id, draft.action_id, draft.content) == ("response", "t1", "t1", '{"stdout":"hi"}')
    assert orjson.loads(draft.details) == {"tool_use_id": "t1", "tool_name": "Bash"}
    kind, draft = draft_of(failed, document_of(failed))
    assert (kind, draft.content, draft.agent_id) == ("response", '"no"', "sub1")


@pytest.mark.parametrize("hook", [{"a": 1}, [], 7, "x", None, {"tool_use_id": 7}, {"tool_use_id": "x" * 256}])
@pytest.mark.parametrize("event", ["Stop", "PreToolUse", "PostToolUse", "SomethingNew"])
def test_whatever_else_comes_is_noted_under_its_messages_id(hook: Any, event: str) -> None:
    command = received(hook, event)
    kind, draft = draft_of(command, document_of(command))
    assert (draft.id, draft.type, draft.action_id) == ("m1", event, None)
    assert kind == ("response" if event == "PostToolUse" and isinstance(hook, dict) and hook else "action")
    opened(document_of(command))
