"""The backlog: what waits for a connection that takes events slower than they come, or is held back on purpose."""

from collections import deque
from collections.abc import Hashable

from services.ws_gateway.stream.frames import CRITICAL, PRIORITIES, Frame, gap, overtaken_by, overtaking, text_frame

MAX_BYTES = 4 * 1024 * 1024
# Of what is held back besides, by reason.
HELD_BYTES = MAX_BYTES // 2
# One write of a drain; the transport says when it has had enough.
DRAIN_BYTES = 64 * 1024


class Merged(Frame):
    """An event that stands for others, of which `first` is the cursor of the first."""

    __slots__ = ("first",)

    def __init__(self, frame: Frame, data: bytes, first: int) -> None:
        super().__init__(frame.cursor, frame.routing_key, frame.rank, frame.message_id, data, frame.type)
        self.first = first


class Overflow(Exception):
    """A critical event found the backlog full of critical ones, which are never dropped."""


class Backlog:
    """Events by priority, bounded by number and bytes: the oldest of the lowest priority goes first, and is told of."""

    __slots__ = (
        "_bytes",
        "_count",
        "_firsts",
        "_lanes",
        "_lost_first",
        "_lost_last",
        "_max_bytes",
        "dropped",
        "max_events",
        "owed",
    )

    def __init__(self, max_events: int, max_bytes: int = MAX_BYTES) -> None:
        self.max_events = max_events
        self._max_bytes = max_bytes
        # There are none while nothing waits: most connections never need them, and an empty deque is 600 bytes.
        self._lanes: tuple[deque[Frame], ...] = ()
        self._count = self._bytes = 0
        # Of those that stand for others, the first cursor of each.
        self._firsts: list[int] = []
        # Cursors of the first and last event dropped since the client was last told.
        self._lost_first = self._lost_last = -1
        self.dropped = 0
        # From this cursor on the client is owed events that are held back elsewhere: later ones overtake them.
        self.owed: int | None = None

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return self._count > 0 or self._lost_last >= 0

    @property
    def has_gap(self) -> bool:
        """Whether events were dropped of which the client has not been told."""
        return self._lost_last >= 0

    @property
    def oldest(self) -> int | None:
        """The first cursor of all that waits, is owed, or was dropped and not told yet; None: there is none."""
        cursors = [*self._firsts, *(lane[0].cursor for lane in self._lanes if lane)]
        if self._lost_last >= 0:
            cursors.append(self._lost_first)
        if self.owed is not None:
            cursors.append(self.owed)
        return min(cursors, default=None)

    def add(self, frame: Frame) -> None:
        """Keep an event, later than all others; the least urgent go if there is no room. Raises `Overflow`."""
        lanes = self._lanes or self._open()
        lanes[frame.rank].append(frame)
        self._count += 1
        self._bytes += len(frame.data)
        if isinstance(frame, Merged):
            self._firsts.append(frame.first)
        while self._count > self.max_events or (self._bytes > self._max_bytes and self._count > 1):
            lane = next(lane for lane in reversed(lanes) if lane)
            if lane is lanes[CRITICAL]:
                raise Overflow
            self._drop(lane.popleft())

    def _open(self) -> tuple[deque[Frame], ...]:
        self._lanes = tuple(deque() for _ in PRIORITIES)
        return self._lanes

    def _let_go(self, frame: Frame) -> None:
        self._count -= 1
        self._bytes -= len(frame.data)
        if isinstance(frame, Merged):
            self._firsts.remove(frame.first)

    def _drop(self, frame: Frame) -> None:
        self._let_go(frame)
        self.dropped += 1
        self._lose(frame.cursor)
        if isinstance(frame, Merged):
            self._lose(frame.first)

    def _lose(self, cursor: int) -> None:
        if self._lost_last < 0:
            self._lost_first = self._lost_last = cursor
        self._lost_first = min(self._lost_first, cursor)
        self._lost_last = max(self._lost_last, cursor)

    def take_gap(self) -> bytes:
        """What tells of the events dropped since it was last told; empty when there are none."""
        if self._lost_last < 0:
            return b""
        told = gap(self._lost_first, self._lost_last, "backpressure")
        self._lost_first = self._lost_last = -1
        return told

    def take(self) -> bytes:
        """The next bytes to write, empty when there are none: first what was dropped, then the most urgent events."""
        parts: list[bytes] = [self.take_gap()]
        size = 0
        for rank, lane in enumerate(self._lanes):
            while lane and size < DRAIN_BYTES:
                frame = lane.popleft()
                self._let_go(frame)
                waiting = [other[0].cursor for other in self._lanes[rank + 1 :] if other]
                owed = () if self.owed is None else (self.owed,)
                oldest = min((*waiting, *self._firsts, *owed), default=frame.cursor)
                data = frame.data if oldest >= frame.cursor else overtaking(frame, oldest - 1)
                parts.append(data)
                size += len(data)
        if not self._count:
            self._lanes = ()
        return b"".join(parts)

    def clear(self) -> None:
        """Forget everything, what was dropped included."""
        self._lanes = ()
        self._count = self._bytes = 0
        self._firsts = []
        self._lost_first = self._lost_last = -1


class Held(Backlog):
    """Events held back until their time has come, then given in the order of the log.

    Of several with one key only the latest is kept; it tells how many it stands for.
    """

    __slots__ = ("_latest", "_merged", "coalesced", "first")

    def __init__(self, max_events: int, max_bytes: int = HELD_BYTES) -> None:
        super().__init__(max_events, max_bytes)
        # No event before this cursor is held, or was dropped without being told.
        self.first: int | None = None
        # Events left out because a later one stands for them.
        self.coalesced = 0
        self._latest: dict[Hashable, Frame] = {}
        # Of an event with a key: the key, how many others it stands for, the cursors of the first and last of those.
        self._merged: dict[Frame, tuple[Hashable, int, int, int]] = {}

    def hold(self, frame: Frame, key: Hashable = None) -> None:
        """Keep an event, later than all others; it stands for the one with the same key, if there is one."""
        self._begin(frame.cursor)
        if key is not None:
            count, first, last = 0, frame.cursor, frame.cursor
            if (before := self._latest.get(key)) is not None:
                _, count, first, _ = self._merged.pop(before)
                count, first, last = count + 1, min(first, before.cursor), before.cursor
                self._lanes[before.rank].remove(before)
                self._let_go(before)
                self.coalesced += 1
            self._latest[key] = frame
            self._merged[frame] = key, count, first, last
        self.add(frame)

    def lose(self, frame: Frame) -> None:
        """Drop an event at once; it will be told of with the others."""
        self._begin(frame.cursor)
        self.dropped += 1
        self._lose(frame.cursor)

    def _begin(self, cursor: int) -> None:
        self.first = cursor if self.first is None else min(self.first, cursor)

    def _drop(self, frame: Frame) -> None:
        super()._drop(frame)
        if merged := self._merged.pop(frame, None):
            del self._latest[merged[0]]
            self._lose(merged[2])

    def take_gap(self) -> bytes:
        """As `Backlog.take_gap`."""
        told = super().take_gap()
        if not self._count:
            self.first = None
        return told

    def take_all(self) -> list[Frame]:
        """Every event held, in order; what was dropped is told by `take_gap`, before these.

        Those that come before one that stands for an older one say from where to resume.
        """
        frames = sorted((frame for lane in self._lanes for frame in lane), key=_by_cursor)
        owed = frames[-1].cursor if frames else 0
        for at in range(len(frames) - 1, -1, -1):
            frame = frames[at]
            _, count, first, last = self._merged.get(frame, (None, 0, 0, 0))
            if count:
                told = b'%b,"coalesced":{"events":%d,"from":%d,"to":%d}}' % (frame.text[:-1], count, first, last)
                frames[at] = Merged(frame, text_frame(told), first)
            if owed < frame.cursor:
                ahead = overtaking(frames[at], owed - 1)
                frames[at] = Merged(frame, ahead, first) if count else overtaken_by(frame, owed - 1)
            if count:
                owed = min(owed, first)
        self._lanes = ()
        self._count = self._bytes = 0
        self._firsts = []
        self._latest, self._merged = {}, {}
        if not self:
            self.first = None
        return frames


def _by_cursor(frame: Frame) -> int:
    return frame.cursor
