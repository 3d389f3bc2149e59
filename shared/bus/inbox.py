"""The commands a worker has taken and not begun, and those that wait for their session or sidebar; no I/O."""

import time
from collections import deque
from collections.abc import Sequence, Set

from shared.bus.items import Item
from shared.messages import Command

MAX_BATCH = 100
# Commands within those that are batches themselves: a transaction that runs so many keeps its sessions long enough.
MAX_WITHIN = 400
# How often commands that wait for their session are looked at.
LOOK_AGAIN_SECONDS = 0.05
# How long a command waits for its session's `create_session`, which may still be on its way.
SESSION_PATIENCE = 0.6


class Inbox:
    """Hands out commands in batches, as they came; those for one session or one sidebar never overtake each other.

    Commands named in `apart` come in batches of nothing else, and never overtake others; others overtake them, so that
    batches are not cut into pieces. A batch holds `at_once` at most.
    """

    def __init__(self, apart: Set[str] = frozenset(), at_once: int = MAX_BATCH) -> None:
        self._apart = apart
        self._at_once = at_once
        self._items: deque[Item] = deque()
        self._aside: list[Item] = []
        self._look_again = 0.0

    @property
    def waits_for_sessions(self) -> bool:
        """Whether commands are set aside, so that `next_batch` may have some though none arrive."""
        return bool(self._aside)

    def add(self, item: Item) -> None:
        """A command has arrived."""
        self._items.append(item)

    def put_back(self, items: Sequence[Item]) -> None:
        """These, in their order, come first again."""
        self._items.extendleft(reversed(items))

    def set_aside(self, items: Sequence[Item]) -> None:
        """The session of these does not exist yet; they are handed out again in a moment."""
        if items:
            now = time.monotonic()
            for item in items:
                item.missed = item.missed or now
            self._aside += items
            self._look_again = now + LOOK_AGAIN_SECONDS

    def next_batch(self) -> list[Item]:
        """Up to `at_once` commands; those of a session that is being waited for queue up behind each other."""
        if self._aside and time.monotonic() >= self._look_again:
            self.put_back(self._aside)
            self._aside.clear()
        absent = {each for item in self._aside for each in _subjects(item.command)}
        batch: list[Item] = []
        overtaken: list[Item] = []
        within = 0
        while self._items and len(batch) < self._at_once and within < MAX_WITHIN:
            item = self._items[0]
            if batch and self._apart and _differ(item.command, batch[0].command, self._apart):
                if batch[0].command.spec.name in self._apart:
                    break
                overtaken.append(self._items.popleft())
                continue
            self._items.popleft()
            if absent and _waits(item.command, absent):
                self._aside.append(item)
            else:
                batch.append(item)
                within += item.command.data.count_within
        self.put_back(overtaken)
        return batch

    def take_parked(self) -> list[Item]:
        """Take out the commands that were parked and woken: nobody delivers them again."""
        parked = [item for item in self._items if item.parked]
        self._items = deque(item for item in self._items if not item.parked)
        return parked

    def clear(self) -> None:
        """Forget everything: the broker delivers it again."""
        self._items.clear()
        self._aside.clear()


def _differ(one: Command, other: Command, apart: Set[str]) -> bool:
    return one.spec is not other.spec and (one.spec.name in apart or other.spec.name in apart)


def _subjects(command: Command) -> set[tuple[str, str]]:
    """What a command may wait for: the sessions it is about, or a sidebar where it names none."""
    sidebar_id = getattr(command.data, "sidebar_id", None)
    if sidebar_id is not None and not command.session_ids:
        return {("sidebar", sidebar_id)}
    return {("session", session_id) for session_id in command.session_ids}


def _waits(command: Command, absent: Set[tuple[str, str]]) -> bool:
    """Whether a command needs one of these; what a batch holds may, and keeps its place with the others."""
    return (command.spec.needs_session or command.session_id is None) and not absent.isdisjoint(_subjects(command))


def is_patient(item: Item, now: float) -> bool:
    """Whether a command still waits for its session, should it be missing."""
    return item.missed is None or now - item.missed < SESSION_PATIENCE
