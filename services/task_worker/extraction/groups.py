"""Errors and summaries of several lines: where one begins, which lines go on with it, and what it says."""

from typing import Any

from services.task_worker.extraction.engine import compiled
from services.task_worker.extraction.findings import MAX_VALUE
from services.task_worker.extraction.patterns import Found, tests_found
from shared.messages.runs_reading import Risk

# Letters of the whole text that are kept, and lines that one may have.
MAX_TEXT = 4_000
MAX_LINES = 500

Group = dict[str, Any]

BEGINNINGS: dict[str, str] = {
    "python": r"^[ \t|+-]*Traceback \(most recent call last\):$",
    "stack": (
        r"^(?:Uncaught |Unhandled |Exception in thread \"[^\"]*\" )?(?:[\w$]+\.)*[A-Z]\w*"
        r"(?:Error|Exception|Throwable)(?: \[[\w-]+\])?(?::.*)?$|^(?:Uncaught )?Error: .*$"
    ),
    "go": r"^(?:panic: |fatal error: |goroutine \d+ \[)",
    "rust": r"^thread '.*' (?:\(\d+\) )?panicked at ",
    "tap": r"^# (?:tests|suites|pass) \d{1,9}$",
    "compiler": r"^error(?:\[E\d{4}\])?: ",
    "line": (
        r"^(?:[\w./:,()\[\]<>|-]+ +){0,4}\[?(?:ERROR|FATAL|CRITICAL|Error|Fatal|error|fatal)\]?[:! ] {0,3}\S"
        r"|^(?:npm|pnpm|yarn) (?:ERR!|error) |: (?:command not found|No such file or directory|Permission denied)$"
        r"|^(?:Segmentation fault|Killed|Aborted|Bus error)\b|(?i:\bout of memory\b)"
    ),
}
_JAVA_AT = compiled(
    r"^\s+at [\w.$<>/@ ]+\((?:[\w$]+\.(?:java|kt|scala|groovy)(?::\d+)?|Native Method|Unknown Source)\)"
)
_GOES_ON = {
    "stack": compiled(
        r"^\s+at |^Caused by: |^\s+Suppressed: |^\s+\.{3} \d+ (?:more|common frames)|^Require stack:|^- [/.\w]"
        r"|^\s+\[cause\]: "
    ),
    "go": compiled(
        r"^\s*$|^goroutine \d+ \[|^\t|^created by |^\[signal |^\s+panic: |^[\w./*()\-{}\[\]]+\(.*\)$|^runtime: "
        r"|^exit status \d"
    ),
    "rust": compiled(r"^note: |^stack backtrace:|^\s+\d+: |^\s+at "),
    "compiler": compiled(r"^\s*-->|^\s*\d*\s*\||^\s+= |^\.\.\."),
    "tap": compiled(r"^# (?:tests|suites|pass|fail|cancelled|skip|skipped|todo|duration_ms) +[\d.]+$"),
}
_GRAVE = compiled(
    r"(?i)\b(?:fatal|critical|panic\w*|segmentation fault|killed|aborted|bus error|out of memory|OutOfMemoryError"
    r"|MemoryError|StackOverflowError)\b"
)
_INDENT = compiled(r"^[ \t|+-]*")
_ANSWERS = {"python": "python_traceback", "go": "go_panic", "rust": "rust_panic", "line": "error_line"}


def begin(kind: str, text: str, number: int) -> Group:
    """A group whose first line this is; JSON."""
    indent = _INDENT.search(text.encode()).end() if kind == "python" else 0
    place = {"first": number, "last": number}
    return {"kind": kind, **place, "texts": [text], "size": len(text), "lines": 1, "indent": indent}


def goes_on(group: Group, text: str) -> str:
    """Whether the next line belongs to it: `no`, `yes`, or `last` (and then it ends)."""
    if group["lines"] >= MAX_LINES:
        return "no"
    line, kind = text.encode(), group["kind"]
    if kind == "python":
        return _python_goes_on(group, line)
    if kind == "rust" and group["lines"] == 1 and group["texts"][0].endswith(":"):
        return "yes"
    if not _GOES_ON[kind].search(line):
        return "no"
    return "last" if kind == "go" and line.startswith(b"exit status") else "yes"


def _python_goes_on(group: Group, line: bytes) -> str:
    indent = _INDENT.search(line).end()
    if indent == len(line):
        return "no"
    return "yes" if indent > group["indent"] else "last"


def take(group: Group, text: str, number: int) -> None:
    """Add the next line to it."""
    group["lines"] += 1
    if text.strip():
        group["last"] = number
    if group["size"] < MAX_TEXT:
        group["texts"].append(text[:MAX_TEXT])
        group["size"] += len(text) + 1
    elif group["kind"] == "python":  # what was raised stands in the last line
        group["texts"][-1] = text[:MAX_TEXT]


def found(group: Group) -> Found:
    """What it was."""
    texts: list[str] = group["texts"]
    if group["kind"] == "tap":
        return tests_found("tap", "tap", " ".join(texts).encode())
    headline = texts[0]
    pattern, language = _named(group)
    if group["kind"] == "python" and len(texts) > 1:
        headline = texts[-1]
    elif group["kind"] == "rust" and len(texts) > 1 and texts[0].endswith(":"):
        headline = f"{texts[0]} {texts[1]}"
    value = headline.strip().encode()
    risk: Risk = "high" if group["kind"] in ("go", "rust") or _GRAVE.search(value) else "medium"
    text = "\n".join(texts).rstrip()[:MAX_TEXT]
    return Found("error", pattern, risk, False, value[:MAX_VALUE], {"language": language, "text": text})


def _named(group: Group) -> tuple[str, str]:
    """Its pattern and its language; an error that had one line only is an `error_line`."""
    kind, more = group["kind"], group["texts"][1:]
    if kind == "stack":
        if any(_JAVA_AT.search(text.encode()) for text in more):
            return "java_exception", "java"
        if more:
            return "node_error", "javascript"
        return "error_line", ""
    if kind == "compiler":
        return ("rust_error", "rust") if more else ("error_line", "")
    return _ANSWERS[kind], kind if kind != "line" else ""
