"""What goes into the extraction and what comes out of it."""

from dataclasses import dataclass, field
from typing import Any, get_args

from shared.messages.runs import Stream
from shared.messages.runs_reading import ExtractionType, Risk

TYPES: tuple[str, ...] = get_args(ExtractionType)
# From the least to the greatest.
RISKS: tuple[Risk, ...] = get_args(Risk)
# Letters of a value at most; a code block's content has a limit of its own.
MAX_VALUE = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output without its newline.

    `more`: the process's line was too long for one, and the next one of this stream continues it.
    """

    number: int
    text: str
    stream: Stream = "stdout"
    more: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    `first_line`, `last_line`: the numbers of the lines it stands in. `index`: which one of this pattern it is among
    those that begin in the same line (from 0), so that (run, pattern, first_line, index) is a key of its own.
    `value`: what was found, masked, at most 2,000 letters. `details`: by type, see docs/output-extraction.md; a code
    block's are `language` (or ""), `sha256` (hex, of its content), `content` (64 KiB at most), `lines`, `closed`.
    """

    type: str
    pattern: str
    risk: Risk
    auto_confirm: bool
    value: str
    first_line: int
    last_line: int
    stream: Stream = "stdout"
    index: int = 0
    details: dict[str, Any] = field(default_factory=dict)


def riskier(one: Risk, other: Risk) -> Risk:
    """The higher of two risk levels."""
    return one if RISKS.index(one) >= RISKS.index(other) else other
