"""RE2, which takes time in proportion to the text whatever the pattern; the standard library's engine backtracks."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import re2


@lru_cache(maxsize=512)
def compiled(pattern: str, *, max_memory: int = 8 << 20) -> Any:
    """A pattern over UTF-8 bytes that never matches across a newline. Raises re2.error."""
    return re2.compile(pattern.encode(), _options(max_memory))


class PatternSet:
    """Which of many patterns a line holds, found in one pass over it."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._set = re2.Set.SearchSet(_options(64 << 20))
        for pattern in patterns:
            self._set.Add(pattern.encode())
        self._set.Compile()

    def match(self, line: bytes) -> list[int]:
        """The places in their order of the patterns that the line holds."""
        return sorted(self._set.Match(line) or ())


def _options(max_memory: int) -> Any:
    options = re2.Options()
    options.never_nl = True
    options.log_errors = False
    options.max_mem = max_memory
    return options
