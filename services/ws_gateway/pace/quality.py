"""How good a connection is, from what its pings take and how fast it empties its socket. Free of I/O.

Times are seconds of one clock that never goes back, sizes bytes. While its socket is not full nothing is known of a
connection's speed, and nothing needs to be.
"""

# 1 Mbit/s: a connection that takes less, though more waits for it, is slow ...
SLOW_BYTES_S = 125_000.0
# ... and one that takes more than this is not.
FAST_BYTES_S = 187_500.0
# So is one whose pings take this long on average; once its last ping took less than the second it may be fast again.
SLOW_PING_MS, FAST_PING_MS = 1_000.0, 500.0
# So is one whose socket stays full for longer than this.
STALLED_SECONDS = 3.0
# A slow one is fast again when nothing of this was so for a while; twice as long after each relapse.
CALM_SECONDS, LONGEST_CALM_SECONDS = 10.0, 160.0
# Slow again within this time is a relapse.
RELAPSE_SECONDS = 60.0
# A speed measured longer ago than this says nothing.
SPEED_SECONDS = 10.0
# The mean is over so many pings.
PINGS = 5

# What each takes from a health of 100 at its worst: pings that take `WORST_PING_MS` and more (nothing up to
# `GOOD_PING_MS`), a full backlog, as many events dropped lately as fit into it, `WORST_UNANSWERED` unanswered pings.
WORST_PING, FULL_BACKLOG, MANY_DROPS, NO_PONGS = 25.0, 25.0, 25.0, 25.0
GOOD_PING_MS, WORST_PING_MS = 100.0, 2_000.0
WORST_UNANSWERED = 3
# Drops count half after this.
DROPS_HALF_LIFE_SECONDS = 60.0


class Quality:
    """What was measured of one connection."""

    __slots__ = (
        "_calm_s", "_calm_since", "_drops", "_drops_at", "_drops_seen", "_full_bytes", "_full_since", "_pings",
        "_recovered_at", "_speed_at", "_took_bytes", "_took_seconds", "slow",
    )  # fmt: skip

    def __init__(self) -> None:
        # Why the connection counts as slow: "drain", "stalled", "ping"; empty: it does not.
        self.slow = ""
        self._pings: tuple[float, ...] = ()
        # Since when the socket is full, and what it held then.
        self._full_since: float | None = None
        self._full_bytes = 0
        # What it took while it was full, and how long that was; older ones count half each time.
        self._took_bytes = self._took_seconds = 0.0
        self._speed_at = 0.0
        self._calm_s = CALM_SECONDS
        self._calm_since: float | None = None
        self._recovered_at: float | None = None
        self._drops = self._drops_at = 0.0
        self._drops_seen = 0

    def pong(self, milliseconds: float) -> None:
        """A ping was answered after this time."""
        self._pings = (*self._pings[-(PINGS - 1) :], milliseconds)

    def full(self, now: float, buffered: int) -> None:
        """The socket is full: so much waits in it."""
        if self._full_since is None:
            self._full_since, self._full_bytes = now, buffered

    def drained(self, now: float, buffered: int) -> None:
        """The socket has room again: so much is left in it."""
        if self._full_since is None:
            return
        self._took_bytes = self._took_bytes / 2 + max(0, self._full_bytes - buffered)
        self._took_seconds = self._took_seconds / 2 + now - self._full_since
        self._speed_at, self._full_since = now, None

    @property
    def mean_ping_ms(self) -> float | None:
        """The mean of the last pings."""
        return self._mean() if self._pings else None

    def _mean(self) -> float:
        return sum(self._pings) / len(self._pings)

    @property
    def bytes_s(self) -> float | None:
        """How much it took while its socket was full, when that was measured last; None: it never was full."""
        return self._took_bytes / self._took_seconds if self._took_seconds else None

    def judge(self, now: float, at_least: float = 0.0) -> str:
        """Whether the connection is slow now: why, or empty. A slow one stays so for `at_least` calm seconds."""
        trouble = self._trouble(now)
        if not self.slow:
            if trouble:
                self._fall(now, trouble)
        elif trouble:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= max(self._calm_s, at_least):
            self.slow, self._recovered_at = "", now
        return self.slow

    def _fall(self, now: float, why: str) -> None:
        self.slow, self._calm_since = why, None
        relapse = self._recovered_at is not None and now - self._recovered_at < RELAPSE_SECONDS
        self._calm_s = min(2 * self._calm_s, LONGEST_CALM_SECONDS) if relapse else CALM_SECONDS

    def _trouble(self, now: float) -> str:
        """What is wrong now; what must be better than that for a slow one is."""
        slow = bool(self.slow)
        if self._full_since is not None and now - self._full_since > STALLED_SECONDS:
            return "stalled"
        speed = self.bytes_s if now - self._speed_at < SPEED_SECONDS else None
        if speed is not None and speed < (FAST_BYTES_S if slow else SLOW_BYTES_S):
            return "drain"
        if not self._pings:
            return ""
        # A slow one is judged by its last ping: one that was stuck behind a full socket would weigh on the mean for
        # minutes after that.
        return "ping" if (self._pings[-1] > FAST_PING_MS if slow else self._mean() > SLOW_PING_MS) else ""

    @property
    def needs_watching(self) -> bool:
        """Whether it may become slow or fast by time passing alone."""
        return bool(self.slow) or self._full_since is not None

    def health(self, now: float, *, waiting: int, room: int, dropped: int, unanswered: int) -> int:
        """From 0 to 100, given how many events wait, how many may, how many were dropped ever, and pings unanswered.

        A ping under way is not yet unanswered: one may be.
        """
        self._drops = self._drops * 0.5 ** ((now - self._drops_at) / DROPS_HALF_LIFE_SECONDS)
        self._drops += dropped - self._drops_seen
        self._drops_at, self._drops_seen = now, dropped
        ping = self.mean_ping_ms or 0.0
        taken = WORST_PING * _share(ping - GOOD_PING_MS, WORST_PING_MS - GOOD_PING_MS)
        taken += FULL_BACKLOG * _share(waiting, room)
        taken += MANY_DROPS * _share(self._drops, room)
        taken += NO_PONGS * _share(unanswered - 1, WORST_UNANSWERED - 1)
        return round(100 - taken)


def _share(value: float, worst: float) -> float:
    return min(1.0, max(0.0, value / worst))
