"""A queue of texts on the disk: what a process writes while nobody can be told."""

import tempfile
from pathlib import Path
from typing import IO

_CHUNK = 256 * 1024


class Spool:
    """First in, first out, in a file without a name, which goes with the process. Texts hold no line feed."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._file: IO[bytes] | None = None
        self._read_at = 0
        self._end = 0
        self._ready: list[bytes] = []

    @property
    def size(self) -> int:
        """Bytes that wait in the file, about."""
        return self._end - self._read_at + sum(map(len, self._ready))

    def __bool__(self) -> bool:
        return bool(self._ready) or self._end > self._read_at

    def put(self, texts: list[str]) -> None:
        """Add some at the end. Raises OSError when the disk is full: nothing of it is in the queue then."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory, prefix="switchyard-output-", buffering=0)  # noqa: SIM115
        data = memoryview("".join(f"{text}\n" for text in texts).encode())
        self._file.seek(self._end)
        written = 0
        while written < len(data):
            written += self._file.write(data[written:])
        self._end += len(data)

    def take(self, count: int) -> list[str]:
        """Up to so many from the front."""
        if len(self._ready) < count and self._file is not None and self._end > self._read_at:
            self._file.seek(self._read_at)
            data = self._file.read(min(_CHUNK, self._end - self._read_at))
            whole = data.rfind(b"\n") + 1
            self._ready += data[:whole].splitlines()
            self._read_at += whole
            if self._read_at == self._end:
                self._file.truncate(0)
                self._read_at = self._end = 0
        taken, self._ready = self._ready[:count], self._ready[count:]
        return [text.decode() for text in taken]

    def close(self) -> None:
        """Give the disk back."""
        if self._file is not None:
            self._file.close()
