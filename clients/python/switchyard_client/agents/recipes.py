"""Recipes: how to start a certain agent for a task, and how to read what it writes.

| recipe | command | input | what is read |
|---|---|---|---|
| `shell` | what was given | the task as JSON | the last line of JSON is the result |
| `claude` | `claude -p --output-format stream-json --verbose …` | the prompt | tool calls, tokens, cost, result |
| `codex` | `codex exec --json … -` | the prompt | commands, tool calls, tokens, last message |
"""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from switchyard_client.agents.lines import Piece

# A longer line is not looked at.
MAX_LINE_BYTES = 1024 * 1024
# As JSON; more does not fit into a report.
MAX_RESULT_BYTES = 24 * 1024
_MAX_INPUT = 2_000
_MAX_ACTIVITIES = 50
# What JSON may say and no text here may hold: NUL, and halves of characters.
_NO_TEXT = re.compile("[\\0\\ud800-\\udfff]")


class Reading:
    """What is read out of the output of one process: nothing but its last words, for a command nobody knows."""

    def __init__(self) -> None:
        # Tokens and cost so far, as `agent_report` takes them.
        self.usage: dict[str, float] | None = None
        # Why it failed, although its exit code is 0.
        self.failure: str | None = None
        # The last line it wrote to standard error.
        self.last_error = ""
        self._last_line = b""
        self._begun = {name: bytearray() for name in ("stdout", "stderr", "input")}
        self._activities: list[dict[str, Any]] = []
        self._result: Any = None

    def feed(self, stream: str, piece: Piece) -> None:
        """One piece of the output."""
        begun = self._begun[stream]
        if len(begun) <= MAX_LINE_BYTES:
            begun += piece.content
        if piece.more:
            return
        line = bytes(begun)
        begun.clear()
        if len(line) > MAX_LINE_BYTES or not line.strip():
            return
        if stream == "stdout":
            self._last_line = line
            # Anything may write a line of JSON: one of another shape says nothing to us.
            with contextlib.suppress(AttributeError, TypeError, ValueError, OverflowError):
                self.read(line)
        elif stream == "stderr":
            self.last_error = line.decode(errors="replace").strip()[:500]

    def read(self, line: bytes) -> None:
        """A line of its standard output."""

    def result(self) -> Any:
        """What it came to: the last line of its standard output, if that is JSON; None else."""
        return self._result if self._result is not None else json_or_none(self._last_line)

    def take_activities(self) -> list[dict[str, Any]]:
        """What it did since this was last asked."""
        taken, self._activities = self._activities[:_MAX_ACTIVITIES], self._activities[_MAX_ACTIVITIES:]
        return taken

    def did(self, kind: str, **data: Any) -> None:
        """It did something worth an event."""
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        self._activities.append({"kind": kind, "at": at, "data": data})


class ClaudeReading(Reading):
    """Claude Code's stream of JSON."""

    def read(self, line: bytes) -> None:
        """A message: the beginning, what the model says and calls, and the result."""
        message = json_or_none(line)
        if not isinstance(message, dict):
            return
        match message.get("type"):
            case "system" if message.get("subtype") == "init":
                self.did("started", **_some(message, "session_id", "model", "permissionMode"))
            case "assistant":
                for part in (message.get("message") or {}).get("content") or []:
                    if isinstance(part, dict) and part.get("type") == "tool_use":
                        self.did("tool_call", id=part.get("id"), name=part.get("name"), input=_short(part.get("input")))
            case "user":
                content = (message.get("message") or {}).get("content")
                for part in content if isinstance(content, list) else []:
                    if isinstance(part, dict) and part.get("type") == "tool_result":
                        failed = bool(part.get("is_error"))
                        self.did("tool_result", id=part.get("tool_use_id"), is_error=failed)
            case "result":
                self._end(message)

    def _end(self, message: dict[str, Any]) -> None:
        used = message.get("usage") or {}
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        self.usage = {
            "input_tokens": sum(int(used.get(name) or 0) for name in names),
            "output_tokens": int(used.get("output_tokens") or 0),
            "cost_usd": float(message.get("total_cost_usd") or 0),
        }
        if message.get("is_error"):
            self.failure = str(message.get("result") or message.get("subtype") or "Claude Code failed")
        self._result = _some(message, "result", "session_id", "num_turns", "duration_ms", "permission_denials")
        self.did("result", **_some(message, "num_turns", "duration_ms", "is_error", "total_cost_usd"))


class CodexReading(Reading):
    """Codex's stream of JSON."""

    def read(self, line: bytes) -> None:
        """An event of the thread: items that are done, tokens of a turn, its failure."""
        event = json_or_none(line)
        if not isinstance(event, dict):
            return
        match event.get("type"):
            case "thread.started":
                self.did("started", **_some(event, "thread_id"))
            case "item.completed":
                self._item(event.get("item") or {})
            case "turn.completed":
                used, before = event.get("usage") or {}, self.usage or {}
                self.usage = {
                    name: before.get(name, 0) + int(used.get(name) or 0) for name in ("input_tokens", "output_tokens")
                }
            case "turn.failed" | "error":
                error = event.get("error") or event
                told = error.get("message") if isinstance(error, dict) else error
                self.failure = str(told or "Codex failed")

    def _item(self, item: dict[str, Any]) -> None:
        match item.get("type"):
            case "agent_message":
                self._result = {"result": item.get("text")}
                self.failure = None
            case "command_execution" | "mcp_tool_call" | "file_change" | "web_search" as kind:
                told = {name: value for name, value in item.items() if name not in ("type", "aggregated_output")}
                self.did("tool_call", name=kind, input=_short(told))


@dataclass(frozen=True)
class Recipe:
    """How an agent is started and read."""

    name: str
    command: tuple[str, ...] = ()
    # Variables of our own environment that it needs, besides the usual ones.
    environment: tuple[str, ...] = ()
    # Whether its input is the prompt of a task, or all of the task as JSON.
    prompted: bool = False
    # What comes after everything else.
    ends_with: tuple[str, ...] = ()
    set_environment: Mapping[str, str] = field(default_factory=dict)

    def words(self, given: Sequence[str]) -> list[str]:
        """The command line: what was given replaces the program, unless it begins with options, which are added."""
        if not self.command:
            return list(given)
        program, *rest = self.command
        if given and not given[0].startswith("-"):
            program, given = given[0], given[1:]
        return [program, *rest, *given, *self.ends_with]

    def reading(self) -> Reading:
        """What reads the output of one process of it."""
        kinds: dict[str, type[Reading]] = {"claude": ClaudeReading, "codex": CodexReading}
        return kinds.get(self.name, Reading)()

    def stdin(self, task: Mapping[str, Any]) -> bytes:
        """What the process finds on its standard input."""
        return prompt_of(task).encode() if self.prompted else (json.dumps(task, ensure_ascii=False) + "\n").encode()


RECIPES = {
    "shell": Recipe("shell"),
    "claude": Recipe(
        "claude",
        # Edits within its folder are made, anything else that would need a person's word is refused: nobody is there.
        ("claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits"),
        ("ANTHROPIC_*", "CLAUDE_*", "AWS_*", "GOOGLE_*", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        prompted=True,
        set_environment={"DISABLE_AUTOUPDATER": "1"},
    ),
    "codex": Recipe(
        "codex",
        ("codex", "exec", "--json", "--sandbox", "workspace-write", "--skip-git-repo-check"),
        ("OPENAI_*", "CODEX_*", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        prompted=True,
        ends_with=("-",),
    ),
}


def prompt_of(task: Mapping[str, Any]) -> str:
    """What an agent is told of a task: `prompt` of its input if there is one, else its description with its input."""
    given = task.get("input_data")
    if isinstance(given, dict) and isinstance(given.get("prompt"), str):
        return str(given["prompt"])
    told = task.get("description") or task.get("task_type") or ""
    return f"{told}\n\n{json.dumps(given, ensure_ascii=False, indent=2)}" if given not in (None, {}) else str(told)


def json_or_none(text: bytes) -> Any:
    """The JSON of a text, with nothing in it that no text may hold; None when it is none, as with NaN."""
    try:
        value = json.loads(text, parse_constant=_no_number)
        return _as_text(value) if b"\\u" in text else value
    except (ValueError, RecursionError):
        return None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return _NO_TEXT.sub("\ufffd", value)
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    if isinstance(value, dict):
        return {_as_text(name): _as_text(each) for name, each in value.items()}
    return value


def fitting(result: Any) -> tuple[Any, str | None]:
    """A result that can be reported, and what is wrong with it if it can't."""
    size = len(json.dumps(result, ensure_ascii=False).encode(errors="replace"))
    if size <= MAX_RESULT_BYTES:
        return result, None
    return (
        None,
        f"the result has {size} bytes, and {MAX_RESULT_BYTES} at most can be reported: store it, and report where",
    )


def _some(message: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: message[name] for name in names if message.get(name) is not None}


def _short(value: Any) -> Any:
    """A tool's input, or what it begins with where that is long."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= _MAX_INPUT else f"{text[:_MAX_INPUT]} …"
