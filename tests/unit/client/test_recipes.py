"""How known agents are started and read."""

import json
from typing import Any

import pytest

from switchyard_client.agents.lines import Piece
from switchyard_client.agents.recipes import RECIPES, Reading, fitting, prompt_of
from switchyard_client.agents.reports import MAX_LABEL, label
from switchyard_client.agents.waiting import looks_like_prompt


def read(recipe: str, *messages: Any) -> Reading:
    reading = RECIPES[recipe].reading()
    for message in messages:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        # In two pieces, as a long line comes.
        reading.feed("stdout", Piece(text[:5], more=True))
        reading.feed("stdout", Piece(text[5:]))
    return reading


def test_the_last_line_of_json_is_the_result_of_any_command() -> None:
    assert read("shell", b"working", {"tests": 12}).result() == {"tests": 12}
    assert read("shell", {"tests": 12}, b"done").result() is None


def test_claudes_tool_calls_tokens_and_cost_are_read_out_of_its_stream() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    used = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 7}
    end = {"type": "result", "result": "done", "is_error": False, "total_cost_usd": 0.25, "usage": used, "num_turns": 2}
    reading = read("claude", {"type": "assistant", "message": {"content": [call]}}, end)
    did = reading.take_activities()
    assert [each["kind"] for each in did] == ["tool_call", "result"]
    assert did[0]["data"] == {"id": "t1", "name": "Bash", "input": {"command": "ls"}}
    assert reading.usage == {"input_tokens": 15, "output_tokens": 7, "cost_usd": 0.25}
    assert reading.result() == {"result": "done", "num_turns": 2} and reading.failure is None
    assert reading.take_activities() == []


def test_a_failure_that_claude_ends_with_is_one_whatever_its_exit_code() -> None:
    assert read("claude", {"type": "result", "is_error": True, "result": "no credit"}).failure == "no credit"


def test_codex_commands_and_tokens_are_read_out_of_its_stream() -> None:
    reading = read(
        "codex",
        {"type": "thread.started", "thread_id": "th"},
        {"type": "item.completed", "item": {"type": "command_execution", "command": "ls", "exit_code": 0}},
        {"type": "item.completed", "item": {"type": "agent_message", "text": "done"}},
        {"type": "turn.completed", "usage": {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 3}},
    )
    assert [each["kind"] for each in reading.take_activities()] == ["started", "tool_call"]
    assert reading.usage == {"input_tokens": 10, "output_tokens": 3} and reading.result() == {"result": "done"}


def test_a_given_program_replaces_a_recipes_and_given_options_are_added() -> None:
    codex = RECIPES["codex"]
    assert codex.words([])[:2] == ["codex", "exec"] and codex.words([])[-1] == "-"
    assert codex.words(["/opt/codex", "--model", "m"])[0] == "/opt/codex"
    assert codex.words(["--model", "m"])[-3:] == ["--model", "m", "-"]


def test_a_prompt_is_the_tasks_own_or_its_description_with_its_input() -> None:
    assert prompt_of({"description": "x", "input_data": {"prompt": "do it"}}) == "do it"
    assert prompt_of({"description": "do it", "input_data": None}) == "do it"
    assert prompt_of({"description": None, "task_type": "review", "input_data": [1]}) == "review\n\n[\n  1\n]"


def test_a_result_that_is_too_large_is_told_as_such() -> None:
    assert fitting({"a": 1}) == ({"a": 1}, None)
    result, fault = fitting("x" * 100_000)
    assert result is None and fault is not None and "100002 bytes" in fault


def test_questions_look_like_prompts_and_half_a_line_does_not() -> None:
    assert all(map(looks_like_prompt, (b">>> ", b"Continue? [y/N] ", b"\x1b[1mroot@x:~#\x1b[0m ", b"Password: ")))
    assert not any(map(looks_like_prompt, (b"", b"downloading 50", b"compiling...")))


def test_what_no_text_may_hold_is_replaced_in_what_is_read_out_of_json() -> None:
    call = rb'{"type":"tool_use","name":"Write","input":{"text":"a\u0000b\ud800"}}'
    message = b'{"type":"assistant","message":{"content":[%b]}}' % call
    reading = read("claude", message, rb'{"type":"result","result":"\udfff \ud83d\ude00"}')
    assert reading.take_activities()[0]["data"]["input"] == {"text": "a\ufffdb\ufffd"}
    assert reading.result() == {"result": "\ufffd \U0001f600"}
    assert read("shell", rb'{"\ud800": ["\u0000"]}').result() == {"\ufffd": ["\ufffd"]}
    assert read("shell", b'{"accuracy": NaN}').result() is None


def test_a_label_is_one_line_of_text_whatever_it_is_made_of() -> None:
    assert label("no such file: a\udcffb\n\0") == "no such file: a?b \ufffd"
    assert len(label("x" * 5_000)) == MAX_LABEL


@pytest.mark.parametrize(
    "message",
    [
        {"type": "assistant", "message": "hello"},
        {"type": "user", "message": ["hello"]},
        {"type": "result", "usage": ["x"]},
        {"type": "result", "usage": {"input_tokens": "many"}},
        {"type": "item.completed", "item": "x"},
        {"type": "turn.failed", "error": "no credit"},
        {"type": "turn.completed", "usage": 7},
    ],
)
@pytest.mark.parametrize("recipe", ["claude", "codex"])
def test_messages_of_another_shape_are_passed_over(recipe: str, message: dict[str, Any]) -> None:
    reading = read(recipe, message, {"type": "result", "result": "done"})
    assert reading.result() in ({"result": "done"}, {"type": "result", "result": "done"})
