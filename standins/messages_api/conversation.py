"""The conversation a request carries: what the user wrote, what was answered, what tools said.

Claude Code sends more than the user wrote: reminders, notes of interruptions, results of tools. Adjacent user turns
arrive merged into one message, or as several; a `system` message may stand between them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

REMINDER = "<system-reminder>"
# What Claude Code writes in the user's name.
NOTES = (
    "[Request interrupted",
    "Continue from where you left off.",
    "Output token limit hit.",
    "Your response above was stopped by a safety classifier",
)
# How a message reads that the user sent while tools were at work.
_STEERED = re.compile(
    r"The user sent a new message while you were working:\n(.*?)\n\nThis is how Claude Code", re.DOTALL
)
_REMINDERS = re.compile(r"\s*<system-reminder>.*?</system-reminder>", re.DOTALL)


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered."""

    name: str
    text: str
    is_error: bool


@dataclass(frozen=True)
class Conversation:
    """What matters of the messages of a request."""

    prompts: list[str] = field(default_factory=list)  # the user's texts; the last one wants an answer
    results: list[ToolResult] = field(default_factory=list)  # of the tools called since the last prompt

    @property
    def prompt(self) -> str:
        """The text that wants an answer; empty when there is none."""
        return self.prompts[-1] if self.prompts else ""


def read(messages: list[dict[str, Any]]) -> Conversation:
    """The conversation in the messages of a valid request."""
    prompts: list[str] = []
    results: list[ToolResult] = []
    names: dict[str, str] = {}
    for message in messages:
        for block in blocks(message):
            kind = block.get("type")
            if kind == "tool_use":
                names[block["id"]] = block["name"].rsplit("__", 1)[-1]
            elif kind == "tool_result":
                name, said = names.get(block["tool_use_id"], ""), _text(block.get("content"))
                results.append(ToolResult(name, _REMINDERS.sub("", said), bool(block.get("is_error"))))
                if steered := _STEERED.findall(said):
                    prompts, results = [*prompts, *steered], []
            elif kind == "text" and message["role"] != "assistant":
                wanted = _prompts(block["text"], message["role"])
                prompts, results = prompts + wanted, [] if wanted else results
    return Conversation(prompts, results)


def _prompts(text: str, role: str) -> list[str]:
    """What the user wrote in a text block."""
    if steered := _STEERED.findall(text):
        return list(steered)
    return [] if role == "system" or text.lstrip().startswith((REMINDER, *NOTES)) else [text]


def blocks(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The content blocks of a message; a plain text is one block."""
    content = message.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from content


def _text(content: Any) -> str:
    """All the text in a tool's result."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [] if part.get("type") == "text")


def mistake(body: Any) -> str | None:
    """What the Messages API would refuse in a request, in its words; None when it is valid."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return "model: Field required"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages: at least one message is required"
    for at, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant", "system"):
            return f"messages.{at}.role: Input should be 'user', 'assistant' or 'system'"
        if any(block.get("type") == "text" and not block.get("text", "").strip() for block in blocks(message)):
            return f"messages.{at}: text content blocks must contain non-whitespace text"
    return _unanswered_tools(messages)


def _unanswered_tools(messages: list[dict[str, Any]]) -> str | None:
    """Every call of a tool is answered in the user's next turn, and nothing else is; adjacent messages are one turn."""
    waiting: set[str] = set()
    for role, turn in groupby((each for each in messages if each["role"] != "system"), key=lambda each: each["role"]):
        found = [block for message in turn for block in blocks(message)]
        results = {block["tool_use_id"] for block in found if block.get("type") == "tool_result"}
        if missing := waiting - results:
            return f"messages: `tool_use` ids were found without `tool_result` blocks after: {', '.join(missing)}"
        if strange := results - waiting:
            return f"messages: unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(strange)}"
        waiting = {block["id"] for block in found if block.get("type") == "tool_use"} if role == "assistant" else set()
    return (
        f"messages: `tool_use` ids were found without `tool_result` blocks: {', '.join(waiting)}" if waiting else None
    )
