"""The hub: who gets which event, and in what state each connection is. Free of I/O.

A connection is idle (each event is written at once), slow (its socket is full: events wait in its backlog), paced (a
pacer decides when), or away from the live events, because it asked for nothing yet or is being given older ones first
(`replay.py`).
"""

from collections.abc import Callable, Sequence

from services.ws_gateway.fanout.backlog import Overflow
from services.ws_gateway.fanout.groups import Connection, Directory, Group, Pacer
from services.ws_gateway.fanout.interest import Interest
from services.ws_gateway.fanout.relevance import Relevance
from services.ws_gateway.fanout.rounds import Round
from services.ws_gateway.stream.frames import CRITICAL, LANES, Frame, gap
from services.ws_gateway.stream.ring import Ring

__all__ = ["JOIN_BYTES", "SLOW_CONSUMER", "Connection", "Group", "Hub", "Pacer", "joinable"]

# What is joined into one write: enough to save system calls, little enough to leave a full socket soon.
JOIN_BYTES = 64 * 1024

SLOW_CONSUMER = 4000


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
        self.relevance = Relevance()
        self.directory = Directory()
        self.by_agent: dict[str, dict[Connection, None]] = {}
        self.admins: dict[Connection, None] = {}
        # Of events that others of the group may have missed: how many each connection got, by routing key.
        self.given: dict[Connection, dict[str, int]] = {}

    def start(self, floor: int) -> None:
        """Begin, or begin anew, after a cursor: what comes next is later than `floor`."""
        self.ring.clear(floor)
        self.cursor = floor
        self.relevance.doubt()

    def seat(self, connection: Connection, agent_id: str, *, is_admin: bool = False) -> None:
        """It is known whose connection this is: what is pushed to that agent reaches it from now on."""
        connection.agent_id, connection.is_admin = agent_id, is_admin
        self.by_agent.setdefault(agent_id, {})[connection] = None
        if is_admin:
            self.admins[connection] = None

    def follow(self, connection: Connection, *, follows: bool) -> None:
        """Keep track of what concerns the connection's agent, or no more."""
        if follows and not connection.follows:
            self.relevance.follow(connection.agent_id)
        elif connection.follows and not follows:
            self.relevance.unfollow(connection.agent_id)
        connection.follows = follows

    def publish(self, frames: Sequence[Frame]) -> None:
        """Take events that arrived together, in order; each connection gets those it wants in one write."""
        self.ring.extend(frames)
        self.cursor = frames[-1].cursor
        relevance, found = self.relevance, self.directory.found
        these = Round(self)
        wanted = these.wanted
        for frame in frames:
            if relevance.listens:
                relevance.learn(frame)
            listening = found.get(frame.routing_key)
            if listening is None:
                listening = self.directory.find(frame.routing_key)
            if frame.is_addressed:
                these.address(frame, listening)
                continue
            is_choosy = False
            for listeners in listening:
                for group in listeners.plain:
                    theirs = wanted.get(group)
                    if theirs is None:
                        wanted[group] = [frame]
                    elif theirs[-1] is not frame:
                        theirs.append(frame)
                is_choosy |= listeners.is_choosy
            if is_choosy:
                these.choose(frame, listening)
        these.close()

    def hand_out(self, group: Group, frames: list[Frame]) -> None:
        """Give events to all of a group."""
        if len(frames) == 1:
            self._send(group, frames, frames[0].data)
            return
        for some in joinable(frames):
            self._send(group, some, _joined(some))

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

    def offer(self, connection: Connection, frames: list[Frame]) -> None:
        """Give events to one connection, as it takes them now."""
        if connection.gone:
            return
        if connection.group is None and connection.position is not None:
            frames = [connection.ahead(frame, connection.position()) for frame in frames]
        if connection.pacer is not None and connection.group is not None:
            connection.pacer.offer(frames)
        else:
            self.give(connection, frames)
        if self.on_critical:
            for frame in frames:
                if frame.rank == CRITICAL:
                    self.on_critical([connection], frame)

    def give(self, connection: Connection, frames: list[Frame]) -> None:
        """Write events to one connection, past its pacer; while its socket is full they wait in its backlog."""
        for some in joinable(frames):
            if connection.paused:
                self._keep(connection, some)
            else:
                connection.count(len(some))
                self.frames_out += len(some)
                connection.write(_joined(some))

    def _keep(self, connection: Connection, frames: list[Frame]) -> None:
        if connection.gone:
            return
        before = connection.backlog.dropped
        try:
            for frame in frames:
                if frame.type in LANES:
                    self.frames_out += 1
                    connection.write_past(frame)
                else:
                    connection.backlog.add(frame)
        except Overflow:
            self.leave(connection)
            connection.gone = True
            connection.close(SLOW_CONSUMER, "too slow for critical events; resume from cursor")
        self.dropped += connection.backlog.dropped - before

    def pace(self, connection: Connection, pacer: Pacer) -> None:
        """Hand the connection's live events to a pacer from now on; older ones that it asks for still come at once."""
        self._move(connection, pacer=pacer, paused=connection.paused)

    def unpace(self, connection: Connection) -> None:
        """Write the connection's events at once again. What its pacer still holds, the pacer gives."""
        self._move(connection, pacer=None, paused=connection.paused)

    def pause(self, connection: Connection) -> None:
        """The connection's socket is full."""
        if not connection.paused:
            self._move(connection, pacer=connection.pacer, paused=True)
            self.slow += 1

    def resume(self, connection: Connection) -> None:
        """The connection's socket has room again: write what waits for it, then let it be idle."""
        if not connection.paused:
            return
        self._move(connection, pacer=connection.pacer, paused=False)
        self.slow -= 1
        while connection.backlog:
            self._write_waiting(connection)
            if connection.paused:
                return
        if connection.pacer is not None:
            connection.pacer.writable()
            if connection.paused:
                return
        if connection.on_writable:
            connection.on_writable()

    def _move(self, connection: Connection, *, pacer: Pacer | None, paused: bool) -> None:
        group = connection.group
        if group is not None:
            group.leave(connection)
        connection.pacer, connection.paused = pacer, paused
        if group is not None:
            group.enter(connection)

    def join(self, connection: Connection, interest: Interest) -> None:
        """Give the connection every event from here on that it wants; what waited for it still comes first."""
        if connection.group is not None:
            if connection.group.interest == interest:
                return
            self.detach(connection)
        connection.position = None
        connection.overtook = {}
        if not interest.topics:
            return
        group = self.directory.group(interest)
        group.enter(connection)
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
        group.leave(connection)
        connection.group = None
        self.given.pop(connection, None)
        if not len(group):
            self.directory.close(group)

    def flush(self, connection: Connection) -> None:
        """Write all that waits, whether the socket takes it now or not: the connection is about to be closed."""
        if connection.pacer is not None:
            connection.pacer.hold_nothing()
        while connection.backlog:
            self._write_waiting(connection)

    def _write_waiting(self, connection: Connection) -> None:
        backlog = connection.backlog
        waiting = len(backlog)
        self.gaps += backlog.has_gap
        data = backlog.take()
        connection.count(waiting - len(backlog))
        self.frames_out += waiting - len(backlog)
        connection.write(data)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self.leave(connection)
        self.follow(connection, follows=False)
        connection.gone = True
        if connection.paused:
            connection.paused = False
            self.slow -= 1
        self.admins.pop(connection, None)
        of_agent = self.by_agent.get(connection.agent_id, {})
        if of_agent.pop(connection, True) is None and not of_agent:
            del self.by_agent[connection.agent_id]

    def tell_gap(self, first: int, last: int, reason: str) -> None:
        """Tell every connection that listens of events that none of them gets, if there are any."""
        if first > last:
            return
        data = gap(first, last, reason)
        for group in list(self.directory.groups.values()):
            for connection in group.members:
                if connection.pacer is not None:
                    connection.pacer.hold_nothing()
                connection.write(data)
                self.gaps += 1


def joinable(frames: list[Frame]) -> list[list[Frame]]:
    """The frames in runs of at most `JOIN_BYTES`, or of one."""
    if len(frames) == 1:
        return [frames]
    runs: list[list[Frame]] = []
    size = JOIN_BYTES
    for frame in frames:
        if size + len(frame.data) > JOIN_BYTES:
            runs.append([])
            size = 0
        runs[-1].append(frame)
        size += len(frame.data)
    return runs


def _joined(frames: list[Frame]) -> bytes:
    return frames[0].data if len(frames) == 1 else b"".join([frame.data for frame in frames])
