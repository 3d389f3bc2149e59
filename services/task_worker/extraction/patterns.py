"""The patterns that come with it, each for one line: what it is called, what it finds, and what that means."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from services.task_worker.extraction import risks
from services.task_worker.extraction.engine import compiled
from services.task_worker.extraction.findings import MAX_VALUE
from shared.messages.runs_reading import Risk

# Of one pattern in one line.
MAX_FOUND = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a pattern found in a line, before its place is known."""

    type: str
    pattern: str
    risk: Risk
    auto_confirm: bool
    value: bytes
    details: dict[str, Any] = field(default_factory=dict)


# From a match, what was found; None: it was not what it looked like.
Reading = Callable[[str, Any], Found | None]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern by its name; `in_code`: it is looked for within code blocks too."""

    name: str
    regex: str
    read: Reading
    in_code: bool = False

    def find(self, line: bytes) -> Iterator[Found]:
        """What it finds in a line, at most 20 times."""
        for count, match in enumerate(compiled(self.regex).finditer(line)):
            if count == MAX_FOUND:
                return
            found = self.read(self.name, match)
            if found is not None:
                yield found


def command(name: str, text: bytes) -> Found:
    """A command with its risk; one that only reads may be confirmed without asking."""
    risk = risks.of_command(text)
    return Found("command", name, risk, risk == "low", text[:MAX_VALUE])


def _command(name: str, match: Any) -> Found:
    return command(name, match.group(1).strip())


def _prompted(name: str, match: Any) -> Found:
    return command(name, match.string[match.end() - 1 :].strip())


def _path(name: str, match: Any) -> Found | None:
    path = match.group().lstrip(_BEFORE_PATH).rstrip(b".")
    if len(path) < 3:
        return None
    place = _PLACE.match(match.string, match.end(), match.end() + 40)
    numbers = [int(number) for number in place.groups() if number] if place else []
    return Found(
        "file_path", name, risks.of_path(path), False, path[:MAX_VALUE], dict(zip(_POSITION, numbers, strict=False))
    )


_POSITION = ("line", "column")


def _url(name: str, match: Any) -> Found:
    url = match.group().rstrip(b".,;:!?")
    if url.endswith(b")") and b"(" not in url:
        url = url.rstrip(b").,")
    return Found("url", name, "low", False, url[:MAX_VALUE])


def _secret(name: str, match: Any) -> Found | None:
    kind = (match.group(2) or b"private_key").decode()
    if match.group(2) == b"private_key":  # the lines of a key whose first one was found
        return None
    # One that was cut has a mark for each of its parts.
    value = match.group() if match.group(2) is None else match.string[match.start() : match.end(2) + 1]
    return Found("secret", kind, "critical", False, value[:MAX_VALUE])


def _confirmation(name: str, match: Any) -> Found:
    prompt = match.group(1).strip()
    default = _default(prompt)
    risk = risks.of_prompt(prompt, default)
    return Found("confirmation", name, risk, risk == "low", prompt[-MAX_VALUE:], {"default": default})


def _default(prompt: bytes) -> str:
    """What Enter means: `yes`, `no`, `enter` (only to go on), or "" if that is not said."""
    for default, pattern in _DEFAULTS:
        if pattern.search(prompt):
            return default
    return ""


_DEFAULTS = (
    ("yes", compiled(r"[\[(](?:Y(?:es)?/[^\])]{0,20}|[^\]()\[]{0,20}/Y(?:es)?)[\])]|(?i:\[yes\]|default:? (?:is )?y)")),
    (
        "no",
        compiled(
            r"[\[(](?:[^\]()\[]{0,20}/N(?:o)?(?:/[^\])]{0,20})?|N(?:o)?/[^\])]{0,20})[\])]"
            r"|(?i:\[no\]|default:? (?:is )?n)"
        ),
    ),
    ("enter", compiled(r"(?i:press|hit) (?:(?i:the )?)(?i:\[?<?(?:enter|return|any key))")),
)  # fmt: skip


def _question(name: str, match: Any) -> Found | None:
    if _YES_OR_NO.search(match.group(1)):
        return None
    return Found("question", name, "low", False, match.group(1)[:500])


_YES_OR_NO = compiled(r"(?i)^(?:do you want to (?:proceed|continue)|are you sure|proceed|continue|overwrite)\b")


def tests_found(name: str, framework: str, text: bytes) -> Found:
    """What a summary of tests says, with the numbers in it."""
    counts = {key: _count(text, words) for key, words in _COUNTED.items()}
    if framework == "go":
        passed = text.startswith((b"ok", b"--- PASS"))
        counts = {"passed": int(passed), "failed": int(not passed), "skipped": 0}
    ok = counts["failed"] == 0 and b"FAILED" not in text
    details = {"framework": framework, "ok": ok, **counts}
    return Found("test_result", name, "low" if ok else "medium", False, text[:500], details)


def _tests(framework: str) -> Reading:
    return lambda name, match: tests_found(name, framework, match.group().strip(b"= \t"))


_COUNTED = {
    "passed": compiled(r"(\d{1,9}) (?:passed|pass)\b|# pass (\d{1,9})"),
    "failed": compiled(r"(\d{1,9}) (?:failed|fail|errors?)\b|# fail (\d{1,9})"),
    "skipped": compiled(r"(\d{1,9}) (?:skipped|ignored|todo|deselected)\b|# skip(?:ped)? (\d{1,9})"),
}


def _count(text: bytes, words: Any) -> int:
    return sum(int(match.group(1) or match.group(2)) for match in words.finditer(text))


_EXTENSION = (
    r"(?:py|pyi|ipynb|js|jsx|ts|tsx|mjs|cjs|go|rs|java|kt|c|h|cc|cpp|hpp|cs|rb|php|swift|scala|sh|bash|zsh|sql|html|css"
    r"|scss|vue|svelte|json|jsonl|ya?ml|toml|ini|cfg|conf|env|xml|csv|tsv|md|rst|txt|log|lock|proto|tf|gradle|diff|patch)"
)
_PART = r"[\w@+~%-][\w.@+~%-]*|\.[\w@+~%-][\w.@+~%-]*|\.{1,2}"
_PATHS = (
    # From the root, the home or here, of two parts at least or with a known extension; or with parts and an extension.
    rf"(?:~|\.{{1,2}})/(?:{_PART})(?:/(?:{_PART}))*/?"
    rf"|/(?:{_PART})(?:/(?:{_PART}))+/?"
    rf"|/(?:{_PART})\.{_EXTENSION}\b"
    rf"|(?:{_PART})(?:/(?:{_PART}))*/[\w.@+~%-]*\.[A-Za-z]\w{{0,9}}"
    rf"|[\w@+-][\w.@+-]*\.{_EXTENSION}\b"
)
_BEFORE_PATH = b" \t\"'`([{<=,:"
_PLACE = compiled(r":(\d{1,7})(?::(\d{1,7}))?\b|[\"']?, line (\d{1,7})\b|\((\d{1,7})(?:,(\d{1,7}))?\)")

_CONFIRMATION = (
    r"^(.*?(?:[\[(](?:(?i:y/n|n/y|yes/no|no/yes)(?:/[^\])]{1,20})?)[\])](?:[ ]?\[\w{1,5}\])?"
    r"|(?i:press|hit) (?i:the )?(?i:\[?<?(?:enter|return|any key)\b)[^.!?]*"
    r"|(?i:do you want to (?:proceed|continue)|are you sure|(?:proceed|continue|overwrite)(?: [^?]+)?)[^?]*\?"
    r"(?:[ ]?[\[(][^\])]{1,20}[\])])?))"
)
_QUESTION = (
    r"^[ \t]*(?:[-*>\x{25CF}\x{23FA}?] {1,3})?"
    r"((?:[A-Z]|(?:do|does|did|should|shall|would|will|can|could|may|is|are|was|what|which|where|when|who|why|how|have|has)\b)"
    r"[^?{}<>;=|\\]* [^?{}<>;=|\\]+\?)[\"')]?[ \t]*$"
)

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "secret",
        r"(?:([^\s\"'=:@/\[\]]{1,40})\x{2026})?\[masked:(\w{1,40})\](?:\[masked:\w{1,40}\])*"
        r"|-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\[masked:private_key\])?",
        _secret,
        in_code=True,
    ),
    Pattern(
        "shell_prompt",
        r"^(?:\([\w.-]{1,40}\) )?(?:[\w.-]{1,40}@[\w.-]{1,60}[: ][^\s$#]* ?|[\w.~/-]+ )?\$ \S",
        _prompted,
    ),
    Pattern("shell_trace", r"^\+{1,6} ([A-Za-z_./~][\w./+-]*(?:[ =].*)?)$", _command),
    Pattern("shell_escape", r"^! ?([a-z./~][\w./+-]*(?: .*)?)$", _command),
    Pattern("file_path", rf"(?:^|[ \t\"'`(\[{{<=,:])(?:{_PATHS})", _path),
    Pattern("url", r"\b(?:https?|wss?|ftp|ssh|git|file)://[^\s<>\"'`{}|\\^]{3,}", _url, in_code=True),
    Pattern(
        "pytest",
        r"^(?:=+ )?(?:\d+ (?:passed|failed|errors?|skipped|xfailed|xpassed|deselected|warnings?)(?:, )?)+"
        r" in [\d.:()s ]+(?:=+)?$",
        _tests("pytest"),
    ),
    Pattern("jest", r"^Tests: +(?:\d+ \w+, )*\d+ total\b.*$", _tests("jest")),
    Pattern(
        "go_test",
        r"^(?:(?:ok|FAIL)[ \t]+[\w./-]+[ \t]+(?:[\d.]+s|\(cached\)|\[[^\]]*\]).*|--- FAIL: .*)$",
        _tests("go"),
    ),
    Pattern("cargo_test", r"^test result: (?:ok|FAILED)\. \d+ passed; \d+ failed;.*$", _tests("cargo")),
    Pattern("confirmation", _CONFIRMATION, _confirmation),
    Pattern("question", _QUESTION, _question),
)

# What a pattern of the operator's may not be called: these, and what other modules name theirs.
NAMES = frozenset(pattern.name for pattern in PATTERNS) | {
    *("claude_tool", "codex_tool", "tool_command", "fenced_shell", "fenced_block", "tap", "private_key", "error_line"),
    *("python_traceback", "node_error", "java_exception", "go_panic", "rust_panic", "rust_error"),
}
