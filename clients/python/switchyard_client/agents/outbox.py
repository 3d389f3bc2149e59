"""The lines of one run on their way out: numbered, kept until the server has them, in bounded memory and disk."""

from collections import deque
from pathlib import Path

from switchyard_client.agents.spool import Spool

MAX_LINES = 500
# Of the texts alone, as the server counts.
MAX_TEXT_BYTES = 48 * 1024
# Of the lines as JSON: escapes count here, and the rest of the frame needs room.
MAX_JSON_BYTES = 60 * 1024

MEMORY_LINES = 2_000
MEMORY_BYTES = 1024 * 1024


class Outbox:
    """What waits for the server, in order. `put` may always be called; `full` says that one better reads no more.

    While the server is away what does not fit into memory goes to the disk, up to a limit; while it is there the
    process is held up instead.
    """

    def __init__(self, spool_bytes: int, directory: Path | None = None) -> None:
        # Lines as JSON, each with the bytes of its text.
        self._memory: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._spool = Spool(directory)
        self._spool_bytes = spool_bytes
        # What found no room on the disk, and comes behind what is there.
        self._late: list[tuple[str, int]] = []
        # The number of the first line that waits: what comes before it the server has.
        self.first = 1
        # Lines there were in all.
        self.given = 0
        self.away = False

    def __len__(self) -> int:
        return self.given - self.first + 1

    @property
    def full(self) -> bool:
        """Whether the process should be held up."""
        if self._late:
            return True
        if self.away:
            return self._spool.size >= self._spool_bytes
        return bool(self._spool) or len(self._memory) >= MEMORY_LINES or self._bytes >= MEMORY_BYTES

    def put(self, lines: list[tuple[str, int]]) -> None:
        """Add lines, each as JSON with the bytes of its text."""
        self.given += len(lines)
        if self._late:
            self._late += lines
        elif self._spool or (self.away and self._bytes >= MEMORY_BYTES):
            try:
                self._spool.put([f"{size} {text}" for text, size in lines])
            except OSError:
                # No room on the disk: nothing is lost, and the process is held up.
                self._late += lines
        else:
            self._keep(lines)

    def batch(self, credit: int) -> list[str]:
        """The lines to send next, no more than `credit`; they stay until `stored`."""
        self._refill()
        batch: list[str] = []
        text_bytes = json_bytes = 0
        for text, size in self._memory:
            text_bytes += size
            json_bytes += len(text.encode()) + 1
            if len(batch) >= min(credit, MAX_LINES):
                break
            if batch and (text_bytes > MAX_TEXT_BYTES or json_bytes > MAX_JSON_BYTES):
                break
            batch.append(text)
        return batch

    def stored(self, next_line: int) -> None:
        """Forget the lines before `next_line`."""
        while self.first < next_line and self._memory:
            text, _ = self._memory.popleft()
            self._bytes -= len(text)
            self.first += 1
            if not self._memory:
                self._refill()

    def close(self) -> None:
        """Give the disk back."""
        self._spool.close()

    def _keep(self, lines: list[tuple[str, int]]) -> None:
        self._memory.extend(lines)
        self._bytes += sum(len(text) for text, _ in lines)

    def _refill(self) -> None:
        while self._spool and len(self._memory) < MAX_LINES:
            texts = self._spool.take(MAX_LINES)
            parted = [text.partition(" ") for text in texts]
            self._keep([(text, int(size)) for size, _, text in parted])
        if self._late and not self._spool:
            self._keep(self._late)
            self._late = []
