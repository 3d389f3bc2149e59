"""What a text asks the stand-in to do: `[[name words option=value]]`, anywhere in a message.

| directive | what happens |
|---|---|
| `[[echo]]` | the message comes back as it is, without directives |
| `[[say some words]]` | these words are the answer |
| `[[recall]]` | what the user wrote before, a line each, as the conversation sent has it |
| `[[recall word]]` | the latest earlier message of the user with that word, or `I don't remember: word` |
| `[[long 12000]]` | an answer of so many characters |
| `[[think some words]]` | a thinking block stands before the answer |
| `[[wait 2]]` | seconds before the first byte |
| `[[pace 0.1]]` | seconds before each piece of the answer |
| `[[error 529]]` `[[error 429 retry-after=1]]` | refused with that status |
| `[[hang]]` | not a byte comes |
| `[[stall 3]]` | silence after so many pieces; the connection stays |
| `[[cut 3]]` | the connection is reset after so many pieces (0: before the head) |
| `[[break 3]]` | an `error` event (overloaded) after so many pieces |
| `[[tool name {"json": 1}]]` | a call of an offered tool, `name` or `mcp__…__name`; of several, one after the other |
| `[[blind name {}]]` | the same, whether it was offered or not |
| `[[together]]` | all the calls in one message |
| `[[usage input=10 output=5 cache_read=3 cache_creation=2]]` | what is said to have been used |
| `[[stop max_tokens]]` | the reason the answer ends with |

`error`, `hang`, `stall`, `cut` and `break` take `times=1`: only the first so many requests with this message meet them.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_NAMES = "echo|say|recall|long|think|wait|pace|error|hang|stall|cut|break|tool|blind|together|usage|stop"
_START = re.compile(rf"\[\[({_NAMES})\b[ \t]*")
_OPTION = re.compile(r"([a-z_-]+)=(\S+)")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Directive:
    """One directive: its words as one text, its `name=value` options, and the JSON after a tool's name."""

    name: str
    words: str = ""
    options: dict[str, str] = field(default_factory=dict)
    value: dict[str, Any] = field(default_factory=dict)


def parse(text: str) -> tuple[list[Directive], str]:
    """The directives in a text, in order, and the text without them. What looks like one but isn't stays text."""
    found, rest, at = [], [], 0
    for start in _START.finditer(text):
        if start.start() < at:
            continue  # inside the JSON of the one before
        read = _tool(text, start) if start[1] in ("tool", "blind") else _plain(text, start)
        if read is None:
            continue
        directive, end = read
        found.append(directive)
        rest.append(text[at : start.start()])
        at = end
    rest.append(text[at:])
    return found, re.sub(r"[ \t]{2,}", " ", "".join(rest)).strip()


def _plain(text: str, start: re.Match[str]) -> tuple[Directive, int] | None:
    end = text.find("]]", start.end())
    if end < 0:
        return None
    inside = text[start.end() : end]
    if start[1] in ("say", "think", "recall"):
        return Directive(start[1], inside.strip()), end + 2
    return Directive(start[1], _OPTION.sub("", inside).strip(), dict(_OPTION.findall(inside))), end + 2


def _tool(text: str, start: re.Match[str]) -> tuple[Directive, int] | None:
    name = re.compile(r"[\w.:-]+").match(text, start.end())
    if name is None:
        return None
    at = name.end()
    value: dict[str, Any] = {}
    while text[at : at + 1].isspace():
        at += 1
    if text[at : at + 1] == "{":
        try:
            value, at = _DECODER.raw_decode(text, at)
        except ValueError:
            return None
    while text[at : at + 1].isspace():
        at += 1
    if text[at : at + 2] != "]]":
        return None
    return Directive(start[1], name[0], {}, value), at + 2
