"""Connections, and the groups of those that want the same: found by routing key, each event judged once for a group."""

from collections.abc import Callable
from typing import Protocol

from services.ws_gateway.fanout.backlog import Backlog
from services.ws_gateway.fanout.interest import Interest
from services.ws_gateway.stream.frames import Frame, overtaken_by, overtaking
from shared.topics import CACHED_KEYS, PatternTree

# Topics nobody asks for any more stay in the tree until there are so many: they are likely to be asked for again.
UNUSED_TOPICS = 1_000
# Events pushed to a connection in replay that are remembered, so that they do not come twice.
OVERTAKING = 1_000


class Pacer(Protocol):
    """Decides when a connection gets its events: now (by `Hub.give`), later, in short, or not at all, and tells it."""

    def offer(self, frames: list[Frame]) -> None:
        """Take events that the connection is to get, in order."""

    def writable(self) -> None:
        """The socket has room again, and nothing waits in the backlog."""

    def hold_nothing(self) -> None:
        """Give what is held: what the client asks for now must not come before it."""


class Connection:
    """One receiver: where to write, and what waits for it.

    `write` takes whole WebSocket frames and keeps what the socket does not take; the owner tells the hub by
    `Hub.pause` and `Hub.resume` when that is too much and when it has gone.
    """

    __slots__ = (
        "_joined_at", "_sent", "agent_id", "backlog", "close", "follows", "gone", "group", "is_admin", "on_writable",
        "overtook", "pacer", "paused", "position", "withheld", "write",
    )  # fmt: skip

    def __init__(self, write: Callable[[bytes], None], close: Callable[[int, str], None], backlog: Backlog) -> None:
        self.write = write
        self.close = close
        self.agent_id = ""
        self.is_admin = False
        self.paused = False
        self.gone = False
        # Whether the hub keeps track of what concerns its agent.
        self.follows = False
        self.backlog = backlog
        self.pacer: Pacer | None = None
        self.group: Group | None = None
        # While it is given older events: up to which cursor it has them, and the later ones that it had before these.
        self.position: Callable[[], int] | None = None
        self.overtook: dict[int, None] = {}
        # Ids of events that are not to be pushed to it, since it has them, or will, from elsewhere.
        self.withheld: set[str] | None = None
        # Called when the socket has room again and the backlog is empty.
        self.on_writable: Callable[[], None] | None = None
        self._sent = 0
        self._joined_at = 0

    @property
    def listens(self) -> bool:
        """Whether it has asked for events, and gets them now or as soon as it has older ones."""
        return self.group is not None or self.position is not None

    @property
    def sent(self) -> int:
        """How many events have been written to it."""
        group = self.group
        return self._sent + (group.sent - self._joined_at if group is not None and self in group.idle else 0)

    def count(self, events: int) -> None:
        """Add events that were written past the group."""
        self._sent += events

    def ahead(self, frame: Frame, since: int) -> Frame:
        """An event as it comes while older ones, those after `since`, are still being given; these leave it out."""
        self.overtook[frame.cursor] = None
        if len(self.overtook) > OVERTAKING:
            del self.overtook[next(iter(self.overtook))]
        return overtaken_by(frame, since)

    def write_past(self, frame: Frame) -> None:
        """Write an event though the socket is full, before all that waits."""
        oldest = self.backlog.oldest
        self._sent += 1
        self.write(frame.data if oldest is None or oldest >= frame.cursor else overtaking(frame, oldest - 1))


class Group:
    """The connections that want the same. An event is matched once for all of them, and joined once."""

    __slots__ = ("idle", "interest", "passed", "sent", "slow", "paced", "writes")  # noqa: RUF023 (as they are used)

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.idle: dict[Connection, None] = {}
        self.slow: dict[Connection, None] = {}
        self.paced: dict[Connection, None] = {}
        # The write methods of the idle ones; made anew after each change.
        self.writes: list[Callable[[bytes], None]] | None = None
        self.sent = 0
        # What its topics matched and its focus did not, by routing key.
        self.passed: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.idle) + len(self.slow) + len(self.paced)

    @property
    def members(self) -> list[Connection]:
        """Everyone in it."""
        return [*self.idle, *self.slow, *self.paced]

    def enter(self, connection: Connection) -> None:
        """Take a connection in, as what it is now."""
        if connection.pacer is not None:
            self.paced[connection] = None
        elif connection.paused:
            self.slow[connection] = None
        else:
            self.idle[connection] = None
            self.writes = None
            connection._joined_at = self.sent

    def leave(self, connection: Connection) -> None:
        """Let a connection go."""
        if connection in self.idle:
            del self.idle[connection]
            self.writes = None
            connection._sent += self.sent - connection._joined_at
        else:
            self.slow.pop(connection, None)
            self.paced.pop(connection, None)


class Listeners:
    """The groups that ask for one pattern, by what they want of it."""

    __slots__ = ("focused", "is_choosy", "own", "own_digested", "passed", "plain")

    def __init__(self) -> None:
        self.plain: dict[Group, None] = {}
        self.focused: dict[Group, None] = {}
        self.own: dict[Group, None] = {}
        self.own_digested = 0
        # What the groups in `own` could have heard, by routing key.
        self.passed: dict[str, int] = {}
        # Whether somebody does not want all of it.
        self.is_choosy = False

    def __bool__(self) -> bool:
        return bool(self.plain) or self.is_choosy

    def __contains__(self, group: Group) -> bool:
        return group in self._of(group)

    @property
    def groups(self) -> list[Group]:
        """All of them."""
        return [*self.plain, *self.focused, *self.own]

    def _of(self, group: Group) -> dict[Group, None]:
        interest = group.interest
        return self.own if interest.is_own else self.focused if interest.is_focused else self.plain

    def add(self, group: Group) -> None:
        """A group asks for the pattern."""
        self._of(group)[group] = None
        self.is_choosy = bool(self.own or self.focused)
        self.own_digested += group.interest.is_own and group.interest.is_digested

    def remove(self, group: Group) -> None:
        """It does so no more."""
        del self._of(group)[group]
        self.is_choosy = bool(self.own or self.focused)
        self.own_digested -= group.interest.is_own and group.interest.is_digested
        if not self.own_digested:
            self.passed.clear()


class Directory:
    """All groups, by interest, and by the routing keys they listen to."""

    def __init__(self) -> None:
        self.groups: dict[Interest, Group] = {}
        # By routing key, so that it is looked up once; holds what changes when groups come and go.
        self.found: dict[str, tuple[Listeners, ...]] = {}
        self.tree = PatternTree()
        self.patterns: dict[str, Listeners] = {}
        self._unused: dict[str, None] = {}

    def find(self, routing_key: str) -> tuple[Listeners, ...]:
        """Who listens to a routing key."""
        found = self.found.get(routing_key)
        if found is None:
            if len(self.found) >= CACHED_KEYS:
                self.found.clear()
            found = self.found[routing_key] = tuple(self.tree.find(routing_key))  # type: ignore[arg-type]
        return found

    def named(self, pattern: str) -> list[Connection]:
        """Everyone who has asked for this very pattern, not for one that covers it."""
        listeners = self.patterns.get(pattern)
        return [] if listeners is None else [member for group in listeners.groups for member in group.members]

    def group(self, interest: Interest) -> Group:
        """The group of an interest."""
        group = self.groups.get(interest)
        if group is None:
            group = self.groups[interest] = Group(interest)
            for pattern in interest.topics:
                listeners = self.patterns.get(pattern)
                if listeners is None:
                    listeners = self._new(pattern)
                elif not listeners:
                    self._unused.pop(pattern, None)
                listeners.add(group)
        return group

    def close(self, group: Group) -> None:
        """Its last connection has left."""
        del self.groups[group.interest]
        for pattern in group.interest.topics:
            listeners = self.patterns[pattern]
            listeners.remove(group)
            if not listeners:
                self._unused[pattern] = None
        if len(self._unused) > UNUSED_TOPICS:
            self.sweep()

    def _new(self, pattern: str) -> Listeners:
        listeners = self.patterns[pattern] = Listeners()
        self.tree.add(pattern, listeners)
        if "*" in pattern or "#" in pattern:
            self.found.clear()
        else:
            self.found.pop(pattern, None)
        return listeners

    def sweep(self) -> None:
        """Forget the topics nobody asks for."""
        for pattern in self._unused:
            self.tree.remove(pattern, self.patterns.pop(pattern))
        self._unused.clear()
        self.found.clear()
