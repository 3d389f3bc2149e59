"""A round: events that arrived together, on their way to whoever gets them. Free of I/O.

What is the same for all of a group is collected for the group. What is for some of them only, because it concerns an
agent, is pushed to it or meant for an audience, is collected for each, or given at once in its place among the others.
"""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, TypeVar

from services.ws_gateway.fanout.groups import Connection, Group, Listeners
from services.ws_gateway.stream.frames import Frame

if TYPE_CHECKING:
    from services.ws_gateway.fanout.hub import Hub

# Routing keys counted by themselves between two digests; the rest are counted together, as `#`.
COUNTED_TOPICS = 100
# Agents looked up one by one, however few connections there are.
FEW_AGENTS = 64

Receiver = TypeVar("Receiver", bound=Hashable)


class Round:
    """What the groups and connections of a hub are to get, in order."""

    __slots__ = ("_hub", "_picked", "wanted")

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.wanted: dict[Group, list[Frame]] = {}
        # Of connections that want only what concerns them; whatever they get, they get from here.
        self._picked: dict[Connection, list[Frame]] = {}

    def close(self) -> None:
        """Give out what has been collected."""
        for group, frames in self.wanted.items():
            self._hub.hand_out(group, frames)
        for connection, frames in self._picked.items():
            self._hub.offer(connection, frames)

    def choose(self, frame: Frame, listening: Iterable[Listeners]) -> None:
        """Collect an event for those who do not want all that their topics match."""
        for group in {group for listeners in listening for group in listeners.focused}:
            if group.interest.focus.admits(frame):
                _add(self.wanted, group, frame)
            elif group.interest.is_digested:
                count_passed(group.passed, frame)
        frame.forget_words()
        own = [listeners for listeners in listening if listeners.own]
        if own:
            for connection in self._concerned(frame, own):
                self._pick(connection, frame)
            for listeners in own:
                if listeners.own_digested:
                    count_passed(listeners.passed, frame)

    def _concerned(self, frame: Frame, own: list[Listeners]) -> list[Connection]:
        """The connections of these groups that an event concerns; found among its agents, or among all if fewer."""
        agents = self._hub.relevance.concerned(frame)
        if agents is not None and len(agents) <= max(FEW_AGENTS, sum(len(listeners.own) for listeners in own)):
            return [
                connection
                for agent in agents
                for connection in self._hub.by_agent.get(agent, ())
                if (group := connection.group) and any(group in listeners.own for listeners in own)
            ]
        members = (member for listeners in own for group in listeners.own for member in group.members)
        return [member for member in dict.fromkeys(members) if agents is None or member.agent_id in agents]

    def _pick(self, connection: Connection, frame: Frame) -> None:
        group = connection.group
        if _add(self._picked, connection, frame) and group is not None and group.interest.is_digested:
            count_passed(self._hub.given.setdefault(connection, {}), frame)

    def address(self, frame: Frame, listening: tuple[Listeners, ...]) -> None:
        """Give an event to those it is meant for, as far as they want it, and to those it is pushed to."""
        by_agent, audience = self._hub.by_agent, frame.audience
        receivers: dict[Connection, None] = {}
        if frame.to_all:
            receivers = {connection: None for connections in by_agent.values() for connection in connections}
            # Connections that nobody has seated get what they asked for.
            self._collect(frame, listening)
        elif audience is None:
            self._collect(frame, listening)
        else:
            receivers = dict.fromkeys(self._hub.admins)
            receivers |= {connection: None for agent in audience for connection in by_agent.get(agent, ())}
            receivers = {connection: None for connection in receivers if self._wants(connection, frame, listening)}
            frame.forget_words()
        for agent in frame.to_agents:
            receivers |= {
                connection: None
                for connection in by_agent.get(agent, ())
                if connection.withheld is None or frame.message_id not in connection.withheld
            }
        at_once: list[Connection] = []
        for connection in receivers:
            group = connection.group
            if group is not None and group.interest.is_own:
                self._pick(connection, frame)
            elif group is None or (theirs := self.wanted.get(group)) is None or theirs[-1] is not frame:
                at_once.append(connection)
        # Ahead of what follows, and behind what came before it.
        for group in dict.fromkeys(connection.group for connection in at_once):
            if group in self.wanted:
                self._hub.hand_out(group, self.wanted.pop(group))
        for connection in at_once:
            self._hub.offer(connection, [frame])

    def _collect(self, frame: Frame, listening: tuple[Listeners, ...]) -> None:
        for listeners in listening:
            for group in listeners.plain:
                _add(self.wanted, group, frame)
        self.choose(frame, listening)

    def _wants(self, connection: Connection, frame: Frame, listening: tuple[Listeners, ...]) -> bool:
        group = connection.group
        return (
            group is not None
            and any(group in listeners for listeners in listening)
            and group.interest.admits(frame, connection.agent_id, self._hub.relevance)
        )


def count_passed(passed: dict[str, int], frame: Frame) -> None:
    """Count an event by its routing key, for a digest."""
    key = frame.routing_key
    if key not in passed and len(passed) >= COUNTED_TOPICS:
        key = "#"
    passed[key] = passed.get(key, 0) + 1


def _add(collected: dict[Receiver, list[Frame]], receiver: Receiver, frame: Frame) -> bool:
    """Add an event behind the others; false when it is there already."""
    frames = collected.get(receiver)
    if frames is None:
        collected[receiver] = [frame]
    elif frames[-1] is not frame:
        frames.append(frame)
    else:
        return False
    return True
