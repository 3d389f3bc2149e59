"""Secrets, replaced by their first letters and a mark before anything is stored or sent.

`ghp_Ab3x…[masked:github_token]` is what stands in the place of a token: some letters to know it again by, and the name
of the pattern. Of a password nothing is kept. What is masked already stays as it is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from services.task_worker.extraction.engine import PatternSet, compiled
from services.task_worker.extraction.findings import Line

# A private key whose end does not come is taken to have ended after so many lines.
MAX_KEY_LINES = 200
# Letters at the end of a cut line that are looked at again with the next part: a secret's name may be cut as well.
_CARRIED = 48

# What stands before a token: the end of a colour is a letter too.
_APART = r"(?:\b|\x1b\[[0-9;]{0,12}m)"
# Name, pattern, and how many of its letters are kept. Earlier ones win where two begin at one place.
_TOKENS: tuple[tuple[str, str, int], ...] = (
    ("anthropic_key", r"sk-ant-[A-Za-z0-9_-]{16,}", 10),
    ("openai_key", r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}", 6),
    ("github_token", r"gh[pousr]_[A-Za-z0-9]{30,}", 8),
    ("github_token", r"github_pat_[A-Za-z0-9_]{22,}", 14),
    ("slack_token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}", 8),
    ("slack_token", r"xapp-[A-Za-z0-9-]{10,}", 8),
    ("aws_access_key", r"(?:AKIA|ASIA)[0-9A-Z]{16}", 8),
    ("gitlab_token", r"glpat-[A-Za-z0-9_-]{20,}", 9),
    ("google_key", r"AIza[0-9A-Za-z_-]{35}", 8),
    ("npm_token", r"npm_[A-Za-z0-9]{36}", 8),
    ("pypi_token", r"pypi-[A-Za-z0-9_-]{50,}", 8),
    ("stripe_key", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}", 10),
    ("switchyard_key", r"sy_[A-Za-z0-9_-]{40,}", 7),
    ("webhook_secret", r"whsec_[A-Za-z0-9+/=_-]{24,}", 10),
    ("jwt", r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}", 6),
)
_NAMES = (
    r"(?i:pass(?:word|wd|phrase)|pwd|secret|api[_-]?key|(?:access|secret|private|encryption|signing)[_-]?key"
    r"|(?:access|auth|refresh|bearer|api|bot|session|github|slack)[_-]?token|[_-]token)"
)
_IS = r"\\?[\"']?[ \t]{0,4}(?:=>|:=|=|:)[ \t]{0,4}"
# What says that a secret follows, which is kept, and the secret, of which nothing is.
_SAID: tuple[tuple[str, str, str], ...] = (
    ("slack_webhook", r"hooks\.slack\.com/services/", r"[A-Za-z0-9/_-]{8,}"),
    ("basic_auth_url", r"://[^\s/@:\"'<>\[\]]{0,100}:", r"[^\s/@\"'<>\[\]]{1,500}@"),
    ("authorization", r"(?i:authorization)" + _IS + r"[\"']?(?i:bearer|basic|token)[ ]+", r"[A-Za-z0-9._~+/=-]{8,}"),
    ("password", _NAMES + _IS + r"\\?[\"']", r"[^\"'\\]{3,}"),
    ("password", _NAMES + _IS, r"[^\s\"'&;,<>()\[\]{}$*\\][^\s\"'&;,<>()\[\]{}\\]{2,}"),
)

_KEY_BEGINS = compiled(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = compiled(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_ANY_TOKEN = compiled(_APART + "(?:" + "|".join(f"({pattern})" for _, pattern, _ in _TOKENS) + ")")
_ANY_SAID = compiled("|".join(f"({said})({secret})" for _, said, secret in _SAID))
# Where a line is cut: what may be the beginning of a secret, and what may be the rest of one.
_TOKEN_BEGINS = compiled(
    _APART + r"((?:sk-|gh[pousr]_|github_pat_|xox[abeoprs]-|xapp-|AKIA|ASIA|glpat-|AIza|npm_|pypi-|[rs]k_(?:live|test)_"
    r"|sy_|whsec_|eyJ)[A-Za-z0-9_.-]*)$"
)
_SAID_BEGINS = compiled("(?:" + "|".join(f"(?:{said})" for _, said, _ in _SAID) + r")([^\s\"'<>&;,]*)$")
_QUOTED_BEGINS = compiled(_NAMES + _IS + r"\\?[\"']([^\"'\\]*)$")
_MARK_ENDS = compiled(r"([\"']?)\[masked:(\w+)\]$")
_REST = {False: compiled(r"^[^\s\"'<>&;,\\]+"), True: compiled(r"^[^\"'\\]+")}

# One of them is found in every line that `mask_bytes` changes.
PATTERNS = (
    _APART + "(?:" + "|".join(pattern for _, pattern, _ in _TOKENS) + ")",
    "|".join(said + secret for _, said, secret in _SAID),
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY",
)

_ANY = PatternSet(PATTERNS)

# What is said in code where a secret would stand, and is none.
_NO_SECRETS = (b"null", b"None", b"none", b"true", b"false", b"True", b"False", b"undefined", b"os.", b"process.env")
_MARK = b"[masked:"
_ELLIPSIS = "\u2026".encode()

State = dict[str, Any]


def mask(text: str) -> str:
    """The text with every secret masked, private keys of many lines too; masking twice changes nothing."""
    return mask_bytes(text.encode(errors="replace")).decode()


def mask_lines(state: State, lines: Sequence[Line]) -> tuple[State, list[Line]]:
    """Mask the lines of a run, which come in their order; a secret that lines or cuts divide is masked as well.

    `state` is `{}` at first, then what the call before returned (a JSON object of under 1 kB; it is not changed).
    """
    state = {stream: dict(kept) for stream, kept in state.items()}
    masked = []
    for line in lines:
        kept = state.get(line.stream, {})
        raw = line.text.encode(errors="replace")
        if not (kept or line.more or _ANY.match(raw)):
            masked.append(line)
            continue
        raw, kept = _mask_line(kept, raw, line.more)
        if kept:
            state[line.stream] = kept
        else:
            state.pop(line.stream, None)
        masked.append(replace(line, text=raw.decode(errors="replace")))
    return state, masked


def mask_bytes(raw: bytes) -> bytes:
    """`mask` for UTF-8."""
    return _mask_words(_mask_keys(raw))


def mask_next(scan: State, raw: bytes) -> bytes:
    """The next whole line, masked; whether a private key goes on is kept in `scan`, under `key`."""
    masked, kept = _mask_line({"key": scan["key"]} if "key" in scan else {}, raw, False)
    scan.pop("key", None)
    scan.update(kept)
    return masked


def mark(name: str) -> bytes:
    """What stands in the place of a secret."""
    return _MARK + name.encode() + b"]"


def _mask_keys(raw: bytes) -> bytes:
    if b"PRIVATE KEY" not in raw:
        return raw
    pieces, place = [], 0
    for begins in _KEY_BEGINS.finditer(raw):
        if begins.start() < place:
            continue
        ends = _KEY_ENDS.search(raw, begins.end())
        until = ends.start() if ends else len(raw)
        pieces += [raw[place : begins.end()], mark("private_key") if raw[begins.end() : until].strip() else b""]
        place = until
    return b"".join([*pieces, raw[place:]])


def _mask_words(raw: bytes) -> bytes:
    raw = _replaced(_ANY_TOKEN, raw, _token)
    return _replaced(_ANY_SAID, raw, _said)


def _replaced(pattern: Any, raw: bytes, mask_one: Any) -> bytes:
    pieces, place = [], 0
    for match in pattern.finditer(raw):
        pieces += [raw[place : match.start()], mask_one(match, raw)]
        place = match.end()
    return b"".join([*pieces, raw[place:]]) if pieces else raw


def _token(match: Any, raw: bytes) -> bytes:
    name, _, kept = _TOKENS[match.lastindex - 1]
    start = match.start(match.lastindex)
    return raw[match.start() : start + kept] + _ELLIPSIS + mark(name)


def _said(match: Any, raw: bytes) -> bytes:
    group = next(index for index in range(1, len(_SAID) * 2, 2) if match.start(index) >= 0)
    said, secret = match.group(group), match.group(group + 1)
    name = _SAID[group // 2][0]
    if said.startswith(b"passwd") and raw.endswith(b"/etc/", 0, match.start()):
        return match.group()  # the file, and what is said of it
    masked_already = secret.startswith(_MARK) or raw.startswith(_ELLIPSIS + _MARK, match.end())
    if masked_already or _ELLIPSIS in secret or (name == "password" and secret.startswith(_NO_SECRETS)):
        return match.group()
    return said + mark(name) + (b"@" if name == "basic_auth_url" else b"")


def _mask_line(kept: State, raw: bytes, more: bool) -> tuple[bytes, State]:
    """A line or a part of one, masked, and what is to be known of it with the next."""
    if "key" in kept:
        ends = _KEY_ENDS.search(raw)
        if ends is None:
            lines = kept["key"] + 1
            return mark("private_key") if raw.strip() else raw, {"key": lines} if lines < MAX_KEY_LINES else {}
        raw = mark("private_key") + raw[ends.start() :] if raw[: ends.start()].strip() else raw[ends.start() :]
    if "open" in kept:
        rest = _REST[kept["quoted"]].search(raw)
        end = rest.end() if rest else 0
        if more and end == len(raw):
            return mark(kept["open"]) if raw else raw, kept
        raw = (mark(kept["open"]) if end else b"") + raw[end:]
    before = kept.get("tail", "").encode()
    joined = before + raw
    masked = mask_bytes(joined)
    if masked.startswith(before):
        masked = masked[len(before) :]
    else:  # what is masked began in the part before, where little of it stood
        same = next(index for index in range(len(before) + 1) if masked[:index] != before[:index]) - 1
        before, masked = before[:same], masked[same:]
    begun = list(_KEY_BEGINS.finditer(joined)) if b"PRIVATE KEY" in joined else []
    if begun and _KEY_ENDS.search(joined, begun[-1].end()) is None:
        return masked, {"key": 0}
    return _cut(before, masked) if more else (masked, {})


def _cut(before: bytes, masked: bytes) -> tuple[bytes, State]:
    """The end of a part that goes on: what may have begun there is masked, the last letters are kept otherwise."""
    ended = _MARK_ENDS.search(before + masked)
    if ended:
        return masked, {"open": ended.group(2).decode(), "quoted": bool(ended.group(1))}
    for pattern, name in ((_TOKEN_BEGINS, "token"), (_QUOTED_BEGINS, "password"), (_SAID_BEGINS, "password")):
        begun = pattern.search(before + masked)
        if begun and len(begun.group(1)) >= 3:
            return masked[: max(begun.start(1) - len(before), 0)] + mark(name), {
                "open": name,
                "quoted": pattern is _QUOTED_BEGINS,
            }
    return masked, {"tail": (before + masked)[-_CARRIED:].decode(errors="ignore")}
