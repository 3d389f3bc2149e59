"""RE2, which takes time in proportion to the text whatever the pattern; the standard library's engine backtracks."""

from typing import Any

import re2


def compiled(pattern: str, *, max_memory: int = 8 << 20) -> Any:
    """A pattern over UTF-8 bytes, line by line: it never matches across a newline. Raises re2.error."""
    options = re2.Options()
    options.never_nl = True
    options.log_errors = False
    options.max_mem = max_memory
    return re2.compile(pattern.encode(), options)
