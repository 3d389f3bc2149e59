"""What was found in the lines of a run, made ready to be kept and told; pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.task_worker.extraction import Finding
from shared.messages import JsonText, encode
from shared.messages.runs_reading import Extraction

# What is told of one batch at most: a log full of errors is read, not listened to.
MAX_TOLD = 20
_TOLD_TYPES = frozenset({"question", "confirmation", "error"})
_TOLD_RISKS = frozenset({"high", "critical"})

# What tells a finding from every other of its run.
Key = tuple[str, int, int]


def key_of(finding: Finding) -> Key:
    """What a finding is known by: a prompt that was told while it waited is found again once its line has ended."""
    return finding.pattern, finding.first_line, finding.index


def rows_of(findings: Sequence[Finding], moments: Mapping[int, str]) -> list[dict[str, Any]]:
    """Findings as they are kept; `moments`: those of the lines, as far as they are known."""
    return [
        {
            "type": finding.type,
            "pattern": finding.pattern,
            "risk": finding.risk,
            "auto_confirm": finding.auto_confirm,
            "text": finding.value,
            # A code block's content is kept once for all.
            "data": JsonText(encode({k: v for k, v in finding.details.items() if k != "content"})),
            "stream": finding.stream,
            "first_line": finding.first_line,
            "last_line": finding.last_line,
            "place": finding.index,
            "sha256": finding.details.get("sha256") if finding.type == "code_block" else None,
            "at": moments.get(finding.last_line) or moments.get(finding.first_line),
        }
        for finding in findings
    ]


def counts_of(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """How many of each type and risk there are."""
    counted = Counter((finding.type, finding.risk) for finding in findings)
    return [{"type": kind, "risk": risk, "found": found} for (kind, risk), found in sorted(counted.items())]


def blocks_of(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The code blocks among them, each once, with how often they are there, and where first and last."""
    blocks: dict[str, dict[str, Any]] = {}
    for finding in findings:
        if finding.type != "code_block":
            continue
        details = finding.details
        block = blocks.setdefault(
            details["sha256"],
            {
                "sha256": details["sha256"],
                "language": details.get("language") or None,
                "content": details["content"],
                "seen": 0,
                "first_line": finding.first_line,
            },
        )
        block["seen"] += 1
        block["last_line"] = finding.last_line
        block["language"] = block["language"] or details.get("language") or None
    return list(blocks.values())


def told(extractions: Iterable[Extraction]) -> list[Extraction]:
    """Those that listeners are told of: what asks, what failed and what is dangerous; not each path."""
    matter = [each for each in extractions if each.type in _TOLD_TYPES or each.risk in _TOLD_RISKS]
    return matter[:MAX_TOLD]
