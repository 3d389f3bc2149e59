"""The commands a worker has taken and not begun, and those that wait for their session to be there; no I/O."""

import time
from collections import deque
from collections.abc import Sequence

from shared.bus.items import Item

MAX_BATCH = 100
# How often commands that wait for their session are looked at.
LOOK_AGAIN_SECONDS = 0.05


class Inbox:
    """Hands out batches in the order in which commands came; those for one session never overtake each other."""

    def __init__(self) -> None:
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
        """Up to `MAX_BATCH` commands; those of a session that is being waited for queue up behind each other."""
        if self._aside and time.monotonic() >= self._look_again:
            self.put_back(self._aside)
            self._aside.clear()
        absent = {item.command.session_id for item in self._aside}
        batch: list[Item] = []
        while self._items and len(batch) < MAX_BATCH:
            item = self._items.popleft()
            waits = item.command.spec.needs_session and item.command.session_id in absent
            (self._aside if waits else batch).append(item)
        return batch

    def clear(self) -> None:
        """Forget everything: the broker delivers it again."""
        self._items.clear()
        self._aside.clear()
