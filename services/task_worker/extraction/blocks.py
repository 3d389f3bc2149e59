"""Fenced blocks of code, and the shell commands in them."""

import hashlib
from typing import Any

from services.task_worker.extraction.engine import compiled
from services.task_worker.extraction.findings import MAX_VALUE, riskier
from services.task_worker.extraction.patterns import Found, command

# Letters of a block's content that are kept; a block that is longer ends there.
MAX_CONTENT = 64 * 1024
MAX_LINES = 5_000

Block = dict[str, Any]

FENCE = r"^[ \t]{0,12}(?:[-*>] )?(`{3,20}|~{3,20})[ \t]{0,4}\{?\.?([\w+#.-]{0,40})[^`]*$"
_FENCE = compiled(FENCE)
_CLOSING = compiled(r"^[ \t]{0,12}(?:> )?(`{3,}|~{3,})[ \t]*$")
_SHELLS = frozenset({"bash", "sh", "shell", "zsh", "console", "terminal", "shell-session", "shellsession", "fish"})


def begin(line: bytes, number: int) -> Block:
    """A block whose opening fence this is; JSON."""
    match = _FENCE.search(line)
    return {
        "fence": match.group(1).decode(),
        "language": match.group(2).decode().lower(),
        "first": number,
        "last": number,
        "texts": [],
        "size": 0,
        "command": "",
        "console": None,
        "risk": "low",
    }


def closes(fence: str, line: bytes) -> bool:
    """Whether the line ends a block that began with this fence."""
    match = _CLOSING.search(line)
    return bool(match) and match.group(1).decode().startswith(fence)


def is_full(block: Block, text: str) -> bool:
    """Whether it ends before this line, since there is no room for it."""
    return block["size"] + len(text) + 1 > MAX_CONTENT or len(block["texts"]) >= MAX_LINES


def take(block: Block, text: str, number: int) -> list[Found]:
    """Add the next line to it; returns the command that the line ends, if it is a shell's."""
    block["texts"].append(text)
    block["size"] += len(text) + 1
    block["last"] = number
    if block["language"] not in _SHELLS:
        return []
    stripped = text.strip()
    if block["command"]:
        stripped = block["command"] + " " + stripped
    elif not stripped or stripped.startswith("#"):
        return []
    elif block["console"] is None:
        block["console"] = stripped.startswith("$ ")
    if not block["command"] and block["console"]:
        if not stripped.startswith("$ "):
            return []  # what the command before wrote
        stripped = stripped[2:]
    if stripped.endswith("\\") and len(stripped) < MAX_VALUE:
        block["command"] = stripped[:-1].rstrip()
        return []
    block["command"] = ""
    said = command("fenced_shell", stripped.encode())
    block["risk"] = riskier(block["risk"], said.risk)
    return [said]


def found(block: Block, *, closed: bool) -> Found | None:
    """The whole block; None when there is nothing in it."""
    content = "\n".join(block["texts"])
    if not content.strip():
        return None
    details = {
        "language": block["language"],
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
        "content": content,
        "lines": len(block["texts"]),
        "closed": closed,
    }
    first = next(text for text in block["texts"] if text.strip()).strip()
    return Found("code_block", "fenced_block", block["risk"], False, first.encode()[:MAX_VALUE], details)
