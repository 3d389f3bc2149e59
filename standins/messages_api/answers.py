"""What the stand-in answers to a request, and what goes wrong on the way: decided here, carried out by the server."""

import re
import uuid
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from standins.messages_api import directives
from standins.messages_api.conversation import Conversation
from standins.messages_api.directives import Directive

PIECES = 200  # a long answer is sent in about so many
PIECE = 24  # characters at least
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Trouble:
    """Something that is to go wrong, `after` so many pieces of the answer."""

    kind: str  # error, hang, stall, cut, break
    after: int = 0
    status: int = 0
    retry_after: str = ""
    times: int | None = None


@dataclass(frozen=True)
class Answer:
    """The content blocks of an answer as the API has them, and how it is sent."""

    content: list[dict[str, Any]]
    stop_reason: str = "end_turn"
    usage: dict[str, int] = field(default_factory=dict)
    wait: float = 0.0
    pace: float = 0.0
    trouble: Trouble | None = None


def answer(conversation: Conversation, asked: dict[str, Any], also: str = "") -> Answer:
    """The answer to a request; `also` holds directives that count before those of the conversation's last prompt.

    Raises ValueError for a directive that can't be read.
    """
    found = directives.parse(also)[0] + directives.parse(conversation.prompt)[0]
    first: dict[str, Directive] = {}
    for each in found:
        first.setdefault(each.name, each)
    content = _thinking(first)
    calls = _calls(found, asked, len(conversation.results), together="together" in first)
    content += calls or [{"type": "text", "text": _text(conversation, first, found, asked)}]
    stop = first["stop"].words if "stop" in first else "tool_use" if calls else "end_turn"
    return Answer(
        content,
        stop,
        _usage(asked, content, first.get("usage")),
        wait=float(first["wait"].words) if "wait" in first else 0.0,
        pace=float(first["pace"].words) if "pace" in first else 0.0,
        trouble=_trouble(first),
    )


def pieces(text: str) -> list[str]:
    """A text as it is streamed: cut before words, in a bounded number of pieces."""
    size = max(PIECE, len(text) // PIECES)
    return re.findall(rf"(?s).{{1,{size}}}(?=\s|$)|.{{1,{size}}}", text)


def tokens(value: Any) -> int:
    """About how many tokens a text or a structure of texts has: four characters each."""
    if isinstance(value, str):
        return max(1, len(value) // 4)
    if isinstance(value, dict):
        return sum(tokens(each) for key, each in value.items() if key not in ("type", "cache_control"))
    return sum(map(tokens, value)) if isinstance(value, list) else 0


def _thinking(first: dict[str, Directive]) -> list[dict[str, Any]]:
    if "think" not in first:
        return []
    return [{"type": "thinking", "thinking": first["think"].words, "signature": "c3RhbmQtaW4="}]


def _calls(found: list[Directive], asked: dict[str, Any], done: int, *, together: bool) -> list[dict[str, Any]]:
    """The tools to be called now: those that are left, or the first of them."""
    wanted = [(name, each) for each in found if (name := _tool_name(each, asked))]
    left = wanted[done:] if together else wanted[done : done + 1]
    if together and done:
        left = []
    return [
        {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": name, "input": each.value}
        for name, each in left
    ]


def _tool_name(directive: Directive, asked: dict[str, Any]) -> str | None:
    if directive.name == "blind":
        return directive.words
    if directive.name != "tool":
        return None
    offered = _offered(asked)
    return next((name for name in offered if name == directive.words or name.endswith(f"__{directive.words}")), None)


def _offered(asked: dict[str, Any]) -> list[str]:
    return [tool["name"] for tool in asked.get("tools") or [] if "name" in tool]


def _text(
    conversation: Conversation, first: dict[str, Directive], found: list[Directive], asked: dict[str, Any]
) -> str:
    if "say" in first:
        return first["say"].words
    if "long" in first:
        return _long(int(first["long"].words))
    earlier = [text for prompt in conversation.prompts[:-1] if (text := directives.parse(prompt)[1])]
    if "recall" in first:
        return _recalled(first["recall"].words, earlier)
    missing = [each.words for each in found if each.name == "tool" and _tool_name(each, asked) is None]
    said = [f"{each.name} {'failed' if each.is_error else 'answered'}: {each.text}" for each in conversation.results]
    if said or missing:
        offered = ", ".join(_offered(asked)) or "none"
        return "\n".join([*said, *(f"There is no tool {name} here; there are: {offered}" for name in missing)])
    text = directives.parse(conversation.prompt)[1]
    if "echo" in first:
        return text or "(nothing)"
    number = len(conversation.prompts)
    before = f" Before that you wrote: “{_short(earlier[-1])}”" if earlier else ""
    return f"You wrote: “{_short(text)}” That is message {number} of this conversation.{before}"


def _recalled(word: str, earlier: list[str]) -> str:
    if not word:
        return "\n".join(earlier) or "You have written nothing before."
    hits = [text for text in earlier if word.lower() in text.lower()]
    return hits[-1] if hits else f"I don't remember: {word}"


def _short(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _long(length: int) -> str:
    """Numbered words, so that a missing or a repeated part is seen."""
    words, size = [], 0
    for number in cycle(range(1_000_000)):
        if size >= length:
            break
        words.append(f"word-{number}")
        size += len(words[-1]) + 1
    return " ".join(words)[:length].rstrip()


def _usage(asked: dict[str, Any], content: list[dict[str, Any]], given: Directive | None) -> dict[str, int]:
    counted = {
        "input_tokens": input_tokens(asked),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": tokens(content),
    }
    for name, value in given.options.items() if given else ():
        key = f"{name}_tokens" if name in ("input", "output") else f"{name}_input_tokens"
        if key not in counted:
            raise ValueError(f"[[usage]] knows input, output, cache_read and cache_creation, not {name}")
        counted[key] = int(value)
    return counted


def input_tokens(asked: dict[str, Any]) -> int:
    """About how many tokens a request has."""
    return sum(tokens(asked.get(part) or []) for part in ("system", "messages", "tools"))


def _trouble(first: dict[str, Directive]) -> Trouble | None:
    for kind in ("error", "hang", "cut", "stall", "break"):
        if kind not in first:
            continue
        each = first[kind]
        times = int(each.options["times"]) if "times" in each.options else None
        number = int(each.words or 0)
        if kind == "error":
            return Trouble(kind, 0, number, each.options.get("retry-after", ""), times)
        return Trouble(kind, number, times=times)
    return None
