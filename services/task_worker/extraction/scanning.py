"""Reads a run's lines in their order, whatever pieces they come in."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.task_worker.extraction import blocks, groups, masking, stream_json
from services.task_worker.extraction.engine import PatternSet
from services.task_worker.extraction.findings import Finding, Line
from services.task_worker.extraction.patterns import PATTERNS, Found, Pattern
from services.task_worker.extraction.user_patterns import UserPattern

State = dict[str, Any]

# Letters of a line that patterns look at; of one in pieces so many are kept until it ends, more if it may be JSON.
MAX_LINE = 8 * 1024
_MAX_PIECES = 32 * 1024
_MAX_JSON = 128 * 1024

# A terminal's colours, titles and moves. Each alternative ends at the next escape at the latest: linear.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()][0-9A-Za-z]|[@-Z\\-_=>78])")


class Extractor:
    """What is looked for: the patterns that come with it, and the operator's. Shared by all runs; keeps nothing."""

    def __init__(self, patterns: Mapping[str, UserPattern] | None = None) -> None:
        self._patterns = (*PATTERNS, *(_user_pattern(name, one) for name, one in (patterns or {}).items()))
        self._kinds = tuple(groups.BEGINNINGS)
        self._set = PatternSet(
            [*(one.regex for one in self._patterns), *groups.BEGINNINGS.values(), blocks.FENCE, *masking.PATTERNS]
        )
        self._fence = len(self._patterns) + len(self._kinds)

    def feed(self, state: State, lines: Sequence[Line]) -> tuple[State, list[Finding]]:
        """What the lines complete, in the order of their ends; `state` is `{}` at first, and is not changed."""
        state = {stream: _copied(scan) for stream, scan in state.items()}
        findings: list[Finding] = []
        for line in lines:
            if line.stream == "input":
                continue
            scan = state.setdefault(line.stream, {})
            text, first = line.text, line.number
            if "pieces" in scan:
                text, first = scan["pieces"] + text, scan["first"]
            if line.more:
                kept = _MAX_JSON if text.startswith("{") else _MAX_PIECES
                scan |= {"pieces": text[:kept], "first": first}
                continue
            scan.pop("pieces", None)
            scan.pop("first", None)
            findings += self._line(scan, line.stream, first, line.number, text)
        return {stream: scan for stream, scan in state.items() if scan}, findings

    def finish(self, state: State) -> tuple[State, list[Finding]]:
        """What was still open when the run ended: a last line, a block, a traceback. The state is `{}` again."""
        findings: list[Finding] = []
        for stream, kept in sorted(state.items()):
            scan = _copied(kept)
            if "pieces" in scan:
                first = scan.pop("first")
                findings += self._line(scan, stream, first, first, scan.pop("pieces"))
            taken = _Taken(stream)
            _end_group(scan, taken)
            _end_block(scan, taken, closed=False)
            findings += taken.findings
        return {}, findings

    def waiting(self, state: State) -> list[Finding]:
        """The questions and confirmations in the last line of each stream while it has no end yet.

        A prompt has no newline. Once the line has ended, they are given by `feed`, with the same pattern, first line
        and index.
        """
        found: list[Finding] = []
        for stream, scan in state.items():
            if "pieces" in scan and "block" not in scan:
                alone = self._line({}, stream, scan["first"], scan["first"], scan["pieces"])
                found += [finding for finding in alone if finding.type in ("question", "confirmation")]
        return found

    def _line(self, scan: State, stream: str, first: int, last: int, text: str) -> list[Finding]:
        """What a whole line of a stream completes."""
        taken = _Taken(stream)
        self._scan(scan, taken, first, last, text, nested=False)
        return taken.findings

    def _scan(self, scan: State, taken: "_Taken", first: int, last: int, text: str, *, nested: bool) -> None:
        text = _clean(text)
        if not nested and "block" not in scan and text.startswith("{"):
            told = stream_json.read(masking.mask(text[:_MAX_JSON]))
            if told is not None:
                _end_group(scan, taken)
                self._told(told, taken, first, last)
                return
        line = text[:MAX_LINE].encode(errors="replace")
        hits = self._set.match(line)
        if "key" in scan or (hits and hits[-1] > self._fence):
            line = masking.mask_next(scan, line)
            hits = self._set.match(line)
        if not (hits or "block" in scan or "group" in scan):
            return
        text = line.decode()
        if "block" in scan and self._in_block(scan, taken, first, last, line, text, hits):
            return
        if "group" in scan and self._in_group(scan, taken, first, last, line, text, hits):
            return
        if self._fence in hits:
            if "ended" in scan and blocks.closes(scan["ended"], line):
                del scan["ended"]
            else:
                scan["block"] = blocks.begin(line, first)
            return
        found = self._inline(taken, first, last, line, hits)
        self._begin_group(scan, taken, first, last, text, hits, found)

    def _in_block(
        self, scan: State, taken: "_Taken", first: int, last: int, line: bytes, text: str, hits: list[int]
    ) -> bool:
        """Whether the line belongs to the open block."""
        block = scan["block"]
        if blocks.closes(block["fence"], line):
            block["last"] = last
            _end_block(scan, taken, closed=True)
            return True
        if blocks.is_full(block, text):
            _end_block(scan, taken, closed=False)
            scan["ended"] = block["fence"]  # its closing fence, still to come, begins no other block
            return False
        taken.add(blocks.take(block, text, last), first, last)
        self._inline(taken, first, last, line, hits, in_code=True)
        return True

    def _in_group(
        self, scan: State, taken: "_Taken", first: int, last: int, line: bytes, text: str, hits: list[int]
    ) -> bool:
        """Whether the line belongs to the open error."""
        goes_on = groups.goes_on(scan["group"], text)
        if goes_on != "no":
            groups.take(scan["group"], text, last)
            self._inline(taken, first, last, line, hits)
        if goes_on != "yes":
            _end_group(scan, taken)
        return goes_on != "no"

    def _begin_group(
        self, scan: State, taken: "_Taken", first: int, last: int, text: str, hits: list[int], found: set[str]
    ) -> None:
        start = len(self._patterns)
        kinds = [self._kinds[hit - start] for hit in hits if start <= hit < self._fence]
        if not kinds or found & {"command", "test_result", "question", "confirmation"}:
            return
        group = groups.begin(kinds[0], text, first)
        group["last"] = last
        if kinds[0] == "line":
            taken.add([groups.found(group)], first, last)
        else:
            scan["group"] = group

    def _inline(
        self, taken: "_Taken", first: int, last: int, line: bytes, hits: list[int], *, in_code: bool = False
    ) -> set[str]:
        """What stands within the line; returns its types."""
        types: set[str] = set()
        for hit in hits:
            if hit >= len(self._patterns):
                break
            pattern = self._patterns[hit]
            if (in_code and not pattern.in_code) or (pattern.name == "question" and "confirmation" in types):
                continue
            found = list(pattern.find(line))
            types.update(one.type for one in found)
            taken.add(found, first, last)
        return types

    def _told(self, told: stream_json.Told, taken: "_Taken", first: int, last: int) -> None:
        """What an agent tells in a line of JSON; each text in it is searched by itself."""
        taken.add(told.found, first, last)
        for text in told.texts:
            scan: State = {}
            for line in text.split("\n"):
                self._scan(scan, taken, first, last, line, nested=True)
            _end_group(scan, taken, (first, last))
            _end_block(scan, taken, closed=False, place=(first, last))


class _Taken:
    """What one line completed; counts those of a pattern that begin at one place."""

    def __init__(self, stream: str) -> None:
        self.findings: list[Finding] = []
        self._stream = stream
        self._counted: Counter[tuple[str, int]] = Counter()

    def add(self, found: Iterable[Found], first: int, last: int) -> None:
        for one in found:
            index = self._counted[one.pattern, first]
            self._counted[one.pattern, first] += 1
            self.findings.append(
                Finding(
                    type=one.type,
                    pattern=one.pattern,
                    risk=one.risk,
                    auto_confirm=one.auto_confirm,
                    value=one.value.decode(errors="ignore"),
                    first_line=first,
                    last_line=last,
                    stream=self._stream,  # type: ignore[arg-type]
                    index=index,
                    details=one.details,
                )
            )


def _end_group(scan: State, taken: _Taken, place: tuple[int, int] | None = None) -> None:
    group = scan.pop("group", None)
    if group is not None:
        taken.add([groups.found(group)], *(place or (group["first"], group["last"])))


def _end_block(scan: State, taken: _Taken, *, closed: bool, place: tuple[int, int] | None = None) -> None:
    block = scan.pop("block", None)
    found = blocks.found(block, closed=closed) if block is not None else None
    if found is not None:
        taken.add([found], *(place or (block["first"], block["last"])))


def _clean(text: str) -> str:
    """The line as a terminal shows it: without colours, and with what a carriage return writes over gone."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = text.rstrip("\r").rpartition("\r")[2]
    return text.replace("\n", " ") if "\n" in text else text


def _copied(scan: State) -> State:
    """A copy that may be changed."""
    copy = dict(scan)
    for part in ("block", "group"):
        if part in copy:
            copy[part] = {**copy[part], "texts": list(copy[part]["texts"])}
    return copy


def _user_pattern(name: str, declared: UserPattern) -> Pattern:
    def read(name: str, match: Any) -> Found:
        value = (match.group(1) if match.re.groups else None) or match.group()
        return Found(declared.type, name, declared.risk, declared.auto_confirm, value[:2_000])

    return Pattern(name, declared.regex, read, in_code=True)
