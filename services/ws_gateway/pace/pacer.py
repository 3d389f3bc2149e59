"""The pacer of one connection: which live events it gets now, which later, and which are only told of. Free of I/O.

Every event offered is written once, or told: in a `summary`, in the `coalesced` of a later one, or in a `gap`. While
any of them is held or not told yet, what goes out before it says by `since` from where to resume.
"""

from collections.abc import Sequence

from services.ws_gateway.fanout.backlog import Held
from services.ws_gateway.fanout.groups import Connection
from services.ws_gateway.fanout.hub import Hub, joinable
from services.ws_gateway.pace.summaries import Summary
from services.ws_gateway.pace.warmup import STAGE_SECONDS, Warmup
from services.ws_gateway.pace.wishes import Wishes
from services.ws_gateway.stream.frames import Frame, message, overtaken_by

SUMMARIES, FULL_DELAYED, CRITICAL_ONLY = "summaries", "full_delayed", "critical_only"


class Pacer:
    """Stands between the hub and one connection while that is slow, or warms up."""

    def __init__(self, hub: Hub, connection: Connection, wishes: Wishes) -> None:
        self.wishes = wishes
        # The preference in force while the connection is slow.
        self.lane: str | None = None
        self.warmup: Warmup | None = None
        self.summarised = 0
        self._hub = hub
        self._connection = connection
        self._delay = 0.0
        self._due = 0.0
        self._summary = Summary()
        limit = connection.backlog.max_events
        self._held = Held(limit)
        # Of the stages of the warm-up that have not begun.
        self._later = Held(limit)
        # What is held is to go out as soon as the socket has room.
        self._overdue = False
        # Drops that were counted.
        self._dropped = 0

    @property
    def held(self) -> int:
        """How many events are held back."""
        return len(self._held) + len(self._later)

    @property
    def coalesced(self) -> int:
        """Events left out because a later one stood for them."""
        return self._held.coalesced

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do: it holds nothing, and would let everything pass."""
        return self.lane is None and self.warmup is None and self._owed() is None

    def enter(self, lane: str, delay: float, now: float) -> None:
        """The connection is slow: from now on follow its preference, telling what is held every `delay` seconds."""
        if lane != self.lane:
            self.flush()
        self.lane, self._delay, self._due = lane, delay, now + delay

    def leave(self) -> None:
        """The connection is slow no more: give what is held."""
        self.lane = None
        self.flush()

    def warm_up(self, now: float, seconds: Sequence[float] = STAGE_SECONDS) -> None:
        """Begin with the first stage."""
        if self.warmup is None:
            self.warmup = Warmup.begin(now, seconds)
            self._tell_stage(self.warmup)

    def offer(self, frames: list[Frame]) -> None:
        """Take live events, in order."""
        if self._overdue:
            self.flush()
        at_once = [frame for frame in frames if self.wishes.come_at_once(frame) or self._passes(frame)]
        self._count_dropped()
        self._give(at_once)

    def _passes(self, frame: Frame) -> bool:
        """Whether an event goes out now; if not, it is held, counted or dropped."""
        if self.warmup is not None and self.warmup.holds(frame):
            self._later.hold(frame)
        elif self.lane == FULL_DELAYED:
            self._held.hold(frame, self.wishes.contents.memory_key(frame))
        elif self.lane == CRITICAL_ONLY:
            self._held.lose(frame)
        elif self.lane == SUMMARIES and frame.type in self.wishes.batchable:
            self._summary.add(frame)
            self.summarised += 1
        elif self._overdue and self._held:
            # Older ones wait for room in the socket.
            self._held.hold(frame)
        else:
            return True
        return False

    def _owed(self) -> int | None:
        """No event before this cursor is still to be given or told; None: nothing is."""
        firsts = (self._held.first, self._later.first, self._summary.first)
        return min((first for first in firsts if first is not None), default=None)

    def _give(self, frames: list[Frame]) -> None:
        connection = self._connection
        owed = connection.backlog.owed = self._owed()
        for run in joinable(frames):
            if connection.gone:
                return
            # What waits in the backlog is told so by the backlog, once it goes out.
            if owed is not None and not connection.paused:
                run = [overtaken_by(frame, owed - 1) if frame.cursor > owed else frame for frame in run]
            self._hub.give(connection, run)

    def tick(self, now: float) -> None:
        """Do what is due; to be called about once a second."""
        warmup = self.warmup
        if warmup is not None and warmup.go_on(now):
            self._open_stage(warmup)
        if self.lane is not None and now >= self._due:
            self._due = now + self._delay
            self.flush()

    def _open_stage(self, warmup: Warmup) -> None:
        self._tell_stage(warmup)
        if warmup.is_over:
            self.warmup = None
        self._tell_dropped(self._later)
        opened = False
        for frame in self._later.take_all():
            if self._passes(frame):
                # They go out below, together and in order.
                self._held.hold(frame)
                opened = True
        self._count_dropped()
        if opened:
            self.flush()
        self._connection.backlog.owed = self._owed()

    def _tell_stage(self, warmup: Warmup) -> None:
        self._connection.write(message("warmup", stage=warmup.stage, ready=warmup.is_over))

    def hold_nothing(self) -> None:
        """Give all that is held: what the client asks for now must not overtake it."""
        self._tell_dropped(self._later)
        for frame in self._later.take_all():
            self._held.hold(frame)
        self._count_dropped()
        self.flush()

    def writable(self) -> None:
        """The socket has room again, and nothing waits in the backlog."""
        if self._overdue:
            self.flush()

    def flush(self) -> None:
        """Tell what was counted and dropped and give what is held, now or as soon as the socket has room."""
        self._overdue = self._connection.paused
        if self._overdue:
            return
        self._tell_dropped(self._held)
        if told := self._summary.take():
            self._connection.write(told)
        self._give(self._held.take_all())

    def _tell_dropped(self, held: Held) -> None:
        if told := held.take_gap():
            self._hub.gaps += 1
            self._connection.write(told)

    def _count_dropped(self) -> None:
        dropped = self._held.dropped + self._later.dropped
        self._hub.dropped += dropped - self._dropped
        self._connection.backlog.dropped += dropped - self._dropped
        self._dropped = dropped
