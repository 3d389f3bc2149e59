"""Hooks of Claude Code: what each becomes in its session, and what a session that one opens is called; pure."""

from pathlib import PurePosixPath
from typing import Any

import orjson

from services.session_worker.actions import Draft, Kind
from shared.messages import Command, JsonText, encode
from shared.messages.hooks import ReceiveClaudeHook
from shared.messages.json_text import slices
from shared.messages.session import CreateSession

# The registered agent that hooks speak of, unless they name a subagent.
AGENT = "claude_code"
MAX_TITLE = 80
_MAX_ID = 255
# What tells how a tool's call ended: the member that is the response's content.
_ENDINGS = {"PostToolUse": "tool_response", "PostToolUseFailure": "error"}


def opened(hook: dict[str, Any]) -> CreateSession:
    """The session that a hook opens when there is none: its title is the prompt's first line, else the folder's name.

    Its state begins with the folder Claude Code works in.
    """
    prompt, cwd = _text(hook, "prompt"), _text(hook, "cwd")
    line = next((line.strip() for line in (prompt or "").splitlines() if line.strip()), "")
    folder = PurePosixPath((cwd or "").replace("\\", "/")).name
    title = line or (f"Claude Code in {folder}" if folder else "Claude Code")
    if len(title) > MAX_TITLE:
        title = title[: MAX_TITLE - 1].rstrip() + "…"
    initial = {"source": AGENT, **({"cwd": cwd} if cwd else {})}
    return CreateSession(title=title, participants=[AGENT], initial=JsonText(encode(initial)))


def draft_of(command: Command, hook: dict[str, Any]) -> tuple[Kind, Draft]:
    """What a hook is noted down as.

    A tool's call is an action under the call's id, its end a response under that id; every other hook is an action of
    its own kind, under the id of its message. When is the moment it came in, since hooks don't say.
    """
    asked: ReceiveClaudeHook = command.data
    call_id = _id(hook, "tool_use_id")
    ending = _ENDINGS.get(asked.event) if hook else None
    details, content = asked.hook.text, b"null"
    if ending is not None:
        members = slices(details)
        content = members.pop(ending, b"null")
        details = b"{" + b",".join(encode(name) + b":" + value for name, value in members.items()) + b"}"
    draft = Draft(
        0,
        asked.session_id,
        (call_id if ending or asked.event == "PreToolUse" else None) or command.message_id,
        asked.event,
        details.decode(),
        command.timestamp,
        _id(hook, "agent_id") or AGENT,
        command.sender_agent_id,
        command.message_id,
        call_id if ending else None,
        content.decode(),
    )
    return ("response" if ending else "action"), draft


def document_of(command: Command) -> dict[str, Any]:
    """The hook as an object; empty when it is none, as the bus may bring anything."""
    document = orjson.loads(command.data.hook.text)
    return document if isinstance(document, dict) else {}


def _text(hook: dict[str, Any], name: str) -> str | None:
    value = hook.get(name)
    return value if isinstance(value, str) else None


def _id(hook: dict[str, Any], name: str) -> str | None:
    value = _text(hook, name)
    return value if value and len(value) <= _MAX_ID and value.isprintable() else None
