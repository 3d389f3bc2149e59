"""The hub: who gets which event, and in what state each connection is. Free of I/O.

A connection is idle (each event is written at once), slow (its socket is full: events wait in its backlog), or away
from the live events, because it asked for nothing yet or is being given older ones first (`replay.py`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from services.ws_gateway.backlog import Backlog, Overflow
from services.ws_gateway.frames import CRITICAL, Frame, gap
from services.ws_gateway.ring import Ring
from shared.topics import CACHED_KEYS, PatternTree, Topics

# What is joined into one write: enough to save system calls, little enough to leave a full socket soon.
JOIN_BYTES = 64 * 1024

SLOW_CONSUMER = 4000


class Pacer(Protocol):
    """Decides when a connection gets its events: now (by `Hub.give`), later, in short, or not at all, and tells it."""

    def offer(self, frames: list[Frame]) -> None:
        """Take events that the connection is to get, in order."""


class Connection:
    """One receiver: where to write, and what waits for it.

    `write` takes whole WebSocket frames and keeps what the socket does not take; the owner tells the hub by
    `Hub.pause` and `Hub.resume` when that is too much and when it has gone.
    """

    __slots__ = ("_joined_at", "_sent", "backlog", "close", "group", "on_writable", "pacer", "paused", "write")

    def __init__(self, write: Callable[[bytes], None], close: Callable[[int, str], None], backlog: Backlog) -> None:
        self.write = write
        self.close = close
        self.paused = False
        self.backlog = backlog
        self.pacer: Pacer | None = None
        self.group: Group | None = None
        # Called when the socket has room again and the backlog is empty.
        self.on_writable: Callable[[], None] | None = None
        self._sent = 0
        self._joined_at = 0

    @property
    def sent(self) -> int:
        """How many events have been written to it."""
        group = self.group
        return self._sent + (group.sent - self._joined_at if group is not None and self in group.idle else 0)

    def count(self, events: int) -> None:
        """Add events that were written past the group."""
        self._sent += events


class Group:
    """The connections that want the same topics. An event is matched once for all of them, and joined once."""

    __slots__ = ("idle", "paced", "sent", "slow", "topics", "writes")

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.idle: dict[Connection, None] = {}
        self.slow: dict[Connection, None] = {}
        self.paced: dict[Connection, None] = {}
        # The write methods of the idle ones; made anew after each change.
        self.writes: list[Callable[[bytes], None]] | None = None
        self.sent = 0

    def _enter(self, connection: Connection) -> None:
        if connection.pacer is not None:
            self.paced[connection] = None
        elif connection.paused:
            self.slow[connection] = None
        else:
            self.idle[connection] = None
            self.writes = None
            connection._joined_at = self.sent

    def _leave(self, connection: Connection) -> None:
        if connection in self.idle:
            del self.idle[connection]
            self.writes = None
            connection._sent += self.sent - connection._joined_at
        else:
            self.slow.pop(connection, None)
            self.paced.pop(connection, None)

    @property
    def members(self) -> list[Connection]:
        """Everyone in it."""
        return [*self.idle, *self.slow, *self.paced]


class Hub:
    """Takes the events of the log in order and hands each to the connections that want it."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        # The last cursor seen: everything up to here is in the ring or was there.
        self.cursor = ring.floor
        self.slow = 0
        self.frames_out = 0
        self.dropped = 0
        self.gaps = 0
        # Told which connections were given a critical event.
        self.on_critical: Callable[[Sequence[Connection], Frame], None] | None = None
        self._tree = PatternTree()
        self._groups: dict[frozenset[str], Group] = {}
        self._found: dict[str, tuple[Group, ...]] = {}

    def start(self, floor: int) -> None:
        """Begin, or begin anew, after a cursor: what comes next is later than `floor`."""
        self.ring.clear(floor)
        self.cursor = floor

    def publish(self, frames: Sequence[Frame]) -> None:
        """Take events that arrived together, in order; each connection gets those it wants in one write."""
        self.ring.extend(frames)
        self.cursor = frames[-1].cursor
        wanted: dict[Group, list[Frame]] = {}
        found = self._found
        for frame in frames:
            groups = found.get(frame.routing_key)
            if groups is None:
                groups = self._find(frame.routing_key)
            for group in groups:
                if group in wanted:
                    wanted[group].append(frame)
                else:
                    wanted[group] = [frame]
        for group, theirs in wanted.items():
            if len(theirs) == 1:
                self._send(group, theirs, theirs[0].data)
            else:
                for some in joinable(theirs):
                    self._send(group, some, b"".join([frame.data for frame in some]))

    def _find(self, routing_key: str) -> tuple[Group, ...]:
        if len(self._found) >= CACHED_KEYS:
            self._found.clear()
        groups = self._found[routing_key] = tuple(self._tree.find(routing_key))  # type: ignore[arg-type]
        return groups

    def _send(self, group: Group, frames: list[Frame], data: bytes) -> None:
        # A write may turn a connection slow: it has these frames already, so the slow ones are noted first.
        slow, paced = tuple(group.slow), tuple(group.paced)
        critical = [frame for frame in frames if frame.rank == CRITICAL] if self.on_critical else ()
        receivers = group.members if critical else []
        writes = group.writes
        if writes is None:
            writes = group.writes = [connection.write for connection in group.idle]
        group.sent += len(frames)
        self.frames_out += len(frames) * len(writes)
        for write in writes:
            write(data)
        for connection in slow:
            self._keep(connection, frames)
        for connection in paced:
            if connection.pacer is not None:
                connection.pacer.offer(frames)
        for frame in critical:
            if self.on_critical:
                self.on_critical(receivers, frame)

    def give(self, connection: Connection, frames: list[Frame]) -> None:
        """Write events to one connection, past its pacer; while its socket is full they wait in its backlog."""
        for some in joinable(frames):
            if connection.paused:
                self._keep(connection, some)
            else:
                connection.count(len(some))
                self.frames_out += len(some)
                connection.write(some[0].data if len(some) == 1 else b"".join([frame.data for frame in some]))

    def pace(self, connection: Connection, pacer: Pacer) -> None:
        """Hand the connection's live events to a pacer from now on; older ones that it asks for still come at once."""
        self._regroup(connection, pacer=pacer)

    def unpace(self, connection: Connection) -> None:
        """Write the connection's events at once again. What its pacer still holds, the pacer gives."""
        self._regroup(connection, pacer=None)

    def _regroup(self, connection: Connection, *, pacer: Pacer | None) -> None:
        group = connection.group
        if group is not None:
            group._leave(connection)
        connection.pacer = pacer
        if group is not None:
            group._enter(connection)

    def _keep(self, connection: Connection, frames: list[Frame]) -> None:
        before = connection.backlog.dropped
        try:
            for frame in frames:
                connection.backlog.add(frame)
        except Overflow:
            self.leave(connection)
            connection.close(SLOW_CONSUMER, "too slow for critical events; resume from cursor")
        self.dropped += connection.backlog.dropped - before

    def pause(self, connection: Connection) -> None:
        """The connection's socket is full."""
        if not connection.paused:
            self._move(connection, paused=True)
            self.slow += 1

    def resume(self, connection: Connection) -> None:
        """The connection's socket has room again: write what waits for it, then let it be idle."""
        if not connection.paused:
            return
        self._move(connection, paused=False)
        self.slow -= 1
        backlog = connection.backlog
        while backlog:
            waiting = len(backlog)
            self.gaps += backlog.has_gap
            data = backlog.take()
            connection.count(waiting - len(backlog))
            self.frames_out += waiting - len(backlog)
            connection.write(data)
            if connection.paused:
                return
        if connection.on_writable:
            connection.on_writable()

    def _move(self, connection: Connection, *, paused: bool) -> None:
        group = connection.group
        if group is not None:
            group._leave(connection)
        connection.paused = paused
        if group is not None:
            group._enter(connection)

    def join(self, connection: Connection, topics: frozenset[str]) -> None:
        """Give the connection every event from here on that matches; what waited for it still comes first."""
        if connection.group is not None:
            if connection.group.topics.patterns == topics:
                return
            self.detach(connection)
        if not topics:
            return
        group = self._groups.get(topics)
        if group is None:
            group = self._groups[topics] = Group(Topics(topics))
            for pattern in topics:
                self._tree.add(pattern, group)
            self._found.clear()
        group._enter(connection)
        connection.group = group

    def leave(self, connection: Connection) -> None:
        """Give the connection no more events, nor those that wait for it."""
        self.detach(connection)
        connection.backlog.clear()

    def detach(self, connection: Connection) -> None:
        """Give the connection no more events for now; what waits for it still goes out."""
        group = connection.group
        if group is None:
            return
        group._leave(connection)
        connection.group = None
        if not group.idle and not group.slow and not group.paced:
            del self._groups[group.topics.patterns]
            for pattern in group.topics.patterns:
                self._tree.remove(pattern, group)
            self._found.clear()

    def flush(self, connection: Connection) -> None:
        """Write all that waits, whether the socket takes it now or not: the connection is about to be closed."""
        backlog = connection.backlog
        while backlog:
            waiting = len(backlog)
            self.gaps += backlog.has_gap
            connection.write(backlog.take())
            connection.count(waiting - len(backlog))
            self.frames_out += waiting - len(backlog)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self.leave(connection)
        if connection.paused:
            connection.paused = False
            self.slow -= 1

    def named(self, pattern: str) -> list[Connection]:
        """The connections that have asked for this very pattern, not for one that covers it."""
        return [
            connection
            for group in self._groups.values()
            if pattern in group.topics.patterns
            for connection in group.members
        ]

    def tell_gap(self, first: int, last: int, reason: str) -> None:
        """Tell every connection that listens of events that none of them gets, if there are any."""
        if first > last:
            return
        data = gap(first, last, reason)
        for group in list(self._groups.values()):
            for connection in group.members:
                connection.write(data)
                self.gaps += 1


def joinable(frames: list[Frame]) -> list[list[Frame]]:
    """The frames in runs of at most `JOIN_BYTES`, or of one."""
    runs: list[list[Frame]] = []
    size = JOIN_BYTES
    for frame in frames:
        if size + len(frame.data) > JOIN_BYTES:
            runs.append([])
            size = 0
        runs[-1].append(frame)
        size += len(frame.data)
    return runs
