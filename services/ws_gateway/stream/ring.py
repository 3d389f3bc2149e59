"""The ring: the latest events, bounded by their number and their bytes, from which most clients resume."""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from services.ws_gateway.stream.frames import Frame


class Ring:
    """Holds every event after the cursor `floor`, in order."""

    def __init__(self, max_events: int, max_bytes: int, floor: int = -1) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._cursors: list[int] = []
        # Where the ring begins in the lists; what lies before it has been evicted, and is cut off now and then.
        self._head = 0
        self._bytes = self._evicted_bytes = 0
        self.floor = floor
        # What it has been given ever: events, and their bytes.
        self.events_ever = self.bytes_ever = 0

    def __len__(self) -> int:
        return len(self._frames) - self._head

    @property
    def bytes(self) -> int:
        """The size of all frames held."""
        return self._bytes

    def clear(self, floor: int) -> None:
        """Forget everything; events after `floor` follow."""
        self._frames, self._cursors, self._head, self._bytes, self._evicted_bytes = [], [], 0, 0, 0
        self.floor = floor

    def extend(self, frames: Sequence[Frame]) -> None:
        """Add events, each with a higher cursor than the one before; the oldest make room."""
        self._frames.extend(frames)
        self._cursors.extend([frame.cursor for frame in frames])
        size = sum([len(frame.data) for frame in frames])
        self._bytes += size
        self.bytes_ever += size
        self.events_ever += len(frames)
        head, end = self._head, len(self._frames)
        while (end - head > self._max_events or self._bytes > self._max_bytes) and end > head:
            evicted = self._frames[head]
            self._bytes -= len(evicted.data)
            self._evicted_bytes += len(evicted.data)
            self.floor = evicted.cursor
            head += 1
        self._head = head
        if (head > 1024 and head > end // 4) or self._evicted_bytes > self._max_bytes // 4:
            del self._frames[:head], self._cursors[:head]
            self._head = self._evicted_bytes = 0

    def covers(self, cursor: int) -> bool:
        """Whether everything after the cursor is here."""
        return cursor >= self.floor

    def after(self, cursor: int, limit: int) -> list[Frame]:
        """The next events after the cursor, at most `limit`. Only meaningful where `covers(cursor)`."""
        at = bisect_right(self._cursors, cursor, lo=self._head)
        return self._frames[at : at + limit]

    def last(self, fits: Callable[[Frame], bool]) -> Frame | None:
        """The latest event that fits."""
        for at in range(len(self._frames) - 1, self._head - 1, -1):
            if fits(self._frames[at]):
                return self._frames[at]
        return None
