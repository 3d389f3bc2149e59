"""The backlog: what waits for a connection that takes events slower than they come."""

from collections import deque

from services.ws_gateway.frames import CRITICAL, PRIORITIES, Frame, gap, overtaking

MAX_BYTES = 4 * 1024 * 1024
# One write of a drain; the transport says when it has had enough.
DRAIN_BYTES = 64 * 1024


class Overflow(Exception):
    """A critical event found the backlog full of critical ones, which are never dropped."""


class Backlog:
    """Events by priority, bounded by number and bytes: the oldest of the lowest priority goes first, and is told of."""

    __slots__ = ("_bytes", "_count", "_lanes", "_lost_first", "_lost_last", "_max_bytes", "_max_events", "dropped")

    def __init__(self, max_events: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lanes: tuple[deque[Frame], ...] = tuple(deque() for _ in PRIORITIES)
        self._count = self._bytes = 0
        # Cursors of the first and last event dropped since the client was last told.
        self._lost_first = self._lost_last = -1
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return self._count > 0 or self._lost_last >= 0

    @property
    def has_gap(self) -> bool:
        """Whether events were dropped of which the client has not been told."""
        return self._lost_last >= 0

    def add(self, frame: Frame) -> None:
        """Keep an event, later than all others; the least urgent go if there is no room. Raises `Overflow`."""
        lanes = self._lanes
        lanes[frame.rank].append(frame)
        self._count += 1
        self._bytes += len(frame.data)
        while self._count > self._max_events or (self._bytes > self._max_bytes and self._count > 1):
            lane = next(lane for lane in reversed(lanes) if lane)
            if lane is lanes[CRITICAL]:
                raise Overflow
            self._drop(lane.popleft())

    def _drop(self, frame: Frame) -> None:
        self._count -= 1
        self._bytes -= len(frame.data)
        self.dropped += 1
        if self._lost_last < 0:
            self._lost_first = self._lost_last = frame.cursor
        self._lost_first = min(self._lost_first, frame.cursor)
        self._lost_last = max(self._lost_last, frame.cursor)

    def take(self) -> bytes:
        """The next bytes to write, empty when there are none: first what was dropped, then the most urgent events."""
        parts: list[bytes] = []
        if self._lost_last >= 0:
            parts.append(gap(self._lost_first, self._lost_last, "backpressure"))
            self._lost_first = self._lost_last = -1
        size = 0
        for rank, lane in enumerate(self._lanes):
            while lane and size < DRAIN_BYTES:
                frame = lane.popleft()
                self._count -= 1
                self._bytes -= len(frame.data)
                oldest = min((other[0].cursor for other in self._lanes[rank + 1 :] if other), default=frame.cursor)
                data = frame.data if oldest >= frame.cursor else overtaking(frame, oldest - 1)
                parts.append(data)
                size += len(data)
        return b"".join(parts)

    def clear(self) -> None:
        """Forget everything, what was dropped included."""
        for lane in self._lanes:
            lane.clear()
        self._count = self._bytes = 0
        self._lost_first = self._lost_last = -1
