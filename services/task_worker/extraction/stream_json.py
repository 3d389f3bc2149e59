"""Lines of JSON in which agents tell what they do: Claude Code's `stream-json` and Codex's `--json`."""

import json
import re
from typing import Any, NamedTuple

from services.task_worker.extraction.findings import MAX_VALUE
from services.task_worker.extraction.patterns import Found, command
from shared.messages.runs_reading import Risk

_READING = frozenset({"Read", "Glob", "Grep", "LS", "NotebookRead", "TodoWrite", "TodoRead", "WebSearch", "TaskOutput"})
# What a call is about, in the order they are asked for.
_ABOUT = ("command", "file_path", "path", "notebook_path", "pattern", "url", "query", "description", "prompt")
# What JSON may say and no text may hold: NUL, and halves of characters.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class Told(NamedTuple):
    """What a line says: things found, and texts to be searched as if they were output."""

    found: list[Found]
    texts: list[str]


def read(line: str) -> Told | None:
    """What an agent tells in a line; None when it is no such line."""
    if not line.startswith("{") or '"type"' not in line:
        return None
    try:
        message = json.loads(line)
        if "\\u" in line:
            message = _as_text(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    if message.get("type") in ("assistant", "user"):
        return _claude(message)
    if message.get("type") in ("system", "result", "stream_event", "control_request", "control_response"):
        return Told([], [])  # what is in them was or will be told by the others
    if message.get("type") == "item.completed" and isinstance(message.get("item"), dict):
        return _codex(message["item"])
    return Told([], []) if str(message.get("type")).startswith(("item.", "turn.", "thread.")) else None


def _as_text(value: Any) -> Any:
    """The value with nothing in it that no text may hold."""
    if isinstance(value, str):
        return _NO_TEXT.sub("\ufffd", value)
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    if isinstance(value, dict):
        return {_as_text(name): _as_text(each) for name, each in value.items()}
    return value


def _claude(message: dict[str, Any]) -> Told:
    body = message.get("message")
    content = body.get("content") if isinstance(body, dict) else None
    told = Told([], [content] if isinstance(content, str) else [])
    for part in content if isinstance(content, list) else []:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "text":
            told.texts.append(str(part.get("text") or ""))
        elif part.get("type") == "tool_use":
            given = part.get("input")
            told.found.extend(
                _call("claude_tool", str(part.get("name")), given if isinstance(given, dict) else {}, part)
            )
        elif part.get("type") == "tool_result":
            told.texts.extend(_texts(part.get("content")))
    return told


def _codex(item: dict[str, Any]) -> Told:
    kind = item.get("type")
    if kind == "agent_message":
        return Told([], [str(item.get("text") or "")])
    if kind == "command_execution":
        given = {"command": str(item.get("command") or "")}
        return Told(_call("codex_tool", "shell", given, item), [str(item.get("aggregated_output") or "")])
    if kind in ("mcp_tool_call", "file_change", "web_search"):
        given = {key: item[key] for key in ("arguments", "changes", "query") if key in item}
        return Told(_call("codex_tool", str(item.get("tool") or kind), given, item), [])
    return Told([], [])


def _call(pattern: str, name: str, given: dict[str, Any], part: dict[str, Any]) -> list[Found]:
    """A tool call; that of a shell is a command as well, and has its risk."""
    name = name[:200]
    about = next((str(given[key]) for key in _ABOUT if isinstance(given.get(key), str)), "")
    found: list[Found] = []
    risk: Risk = "low" if name in _READING else "medium"
    if name in ("Bash", "shell") and about:
        found.append(command("tool_command", about.encode(errors="replace")))
        risk = found[0].risk
    details: dict[str, Any] = {"tool": name, "call_id": str(part.get("id") or "")[:200]}
    if about:
        details["about"] = about[:500]
    text = f"{name}({about})" if about else name
    return [Found("tool_call", pattern, risk, False, text.encode(errors="replace")[:MAX_VALUE], details), *found]


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [str(part.get("text") or "") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
