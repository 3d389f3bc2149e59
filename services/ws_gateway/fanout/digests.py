"""Peripheral awareness: now and then a connection hears how much passed by outside of what it wants. Free of I/O."""

from collections import Counter
from collections.abc import Iterator

from services.ws_gateway.fanout.groups import Connection, Group
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.stream.frames import message

BEATS = 10
TOP = 10
# Groups told in one beat, so that others are not kept waiting.
AT_ONCE = 500


class Digests:
    """Tells every group what its members missed by choice, at every tenth beat; counted once for a group."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._beats = 0
        self._since = hub.cursor
        self._telling: Iterator[None] = iter(())

    def beat(self) -> None:
        """To be called once a second."""
        self._beats += 1
        if self._beats % BEATS == 0:
            # What was not told within the ten beats before is told now.
            for _ in self._telling:
                pass
            self._telling = self._tell()
        for _ in zip(range(AT_ONCE), self._telling, strict=False):
            pass

    def _tell(self) -> Iterator[None]:
        hub, directory = self._hub, self._hub.directory
        first, self._since = min(self._since, hub.cursor) + 1, hub.cursor
        given, hub.given = hub.given, {}
        passed = {pattern: listeners.passed for pattern, listeners in directory.patterns.items() if listeners.passed}
        for pattern in passed:
            directory.patterns[pattern].passed = {}
        until = hub.cursor
        # Taken from all at once: some are told only later, but of nothing later.
        groups: list[tuple[Group, dict[str, int]]] = []
        for group in directory.groups.values():
            if group.interest.is_digested:
                groups.append((group, group.passed))
                group.passed = {}
        for group, missed in groups:
            if group.interest.is_own:
                for pattern in group.interest.topics:
                    if pattern in passed:
                        # What two patterns match was counted for both.
                        missed |= passed[pattern]
            if missed:
                _tell_group(group, missed, given, first, until)
            yield


def _tell_group(
    group: Group, missed: dict[str, int], given: dict[Connection, dict[str, int]], first: int, until: int
) -> None:
    for_all: bytes | None = None
    for connection in group.members:
        if connection.paused:
            continue  # it has enough to read
        theirs = given.get(connection)
        if theirs:
            rest = Counter(missed)
            rest.subtract(theirs)
            if data := _digest(+rest, first, until):
                connection.write(data)
        else:
            for_all = for_all or _digest(missed, first, until)
            connection.write(for_all)


def _digest(missed: dict[str, int], first: int, until: int) -> bytes:
    if not missed:
        return b""
    topics = dict(sorted(missed.items(), key=lambda item: (-item[1], item[0]))[:TOP])
    told = {"from": first, "to": until, "events": sum(missed.values()), "topics": topics}
    return message("peripheral_update", **told)
