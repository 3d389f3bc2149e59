"""One readable log out of many: each line behind the name of the service that wrote it."""

import re
import sys
import threading
from pathlib import Path
from typing import TextIO

from cli.local.environment import SERVICES
from cli.local.processes import rotate

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PALETTE = (36, 35, 32, 33, 34, 95, 96, 92)
_WIDTH = max(len(name) for name in SERVICES)


class MergedLog:
    """Writes lines of several sources to one stream; colours only where somebody looks at it."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._colour = colour
        self._colours = {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(SERVICES)}
        self._lock = threading.Lock()

    @classmethod
    def to_terminal(cls) -> "MergedLog":
        """Standard output, coloured when it is a terminal."""
        return cls(sys.stdout, colour=sys.stdout.isatty())

    @classmethod
    def to_file(cls, path: Path) -> "MergedLog":
        """A file that is appended to, without colours."""
        rotate(path)
        return cls(path.open("a", encoding="utf-8", errors="replace"), colour=False)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def line(self, source: str, text: str) -> None:
        """Write one line; a stream that went away (a closed terminal) is no reason to stop."""
        name = f"{source:<{_WIDTH}}"
        if self._colour:
            written = f"\x1b[{self._colours.get(source, 1)}m{name} │\x1b[0m {text}\n"
        else:
            written = f"{name} | {_COLOUR.sub('', text)}\n"
        try:
            with self._lock:
                self._stream.write(written)
                self._stream.flush()
        except (OSError, ValueError):
            return
