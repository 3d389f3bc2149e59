"""Commands that wait for something to happen: kept in memory, acknowledged, until they are woken or their time is up.

Whoever asks has taken nothing yet, so a crash loses only the waiting: the command is asked again. Once it is woken and
handled, its events are kept apart until they are confirmed: see shared/bus/unconfirmed.py.
"""

import asyncio
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.bus.items import Item
from shared.errors import Rejected

# More than this are answered at once instead.
MAX_PARKED = 10_000


@dataclass(frozen=True, slots=True)
class Wait:
    """What a command waits for: something of a topic that needs no other abilities, of one session if it names one.

    `refusal`: what it is refused with once it waits no longer; None: what it came with is its reply then.
    """

    topic: str
    abilities: frozenset[str]
    session_id: str | None
    seconds: float
    refusal: Rejected | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """So many things have come; `needs` and `session_id` None: nobody knows what kind, so one of each kind looks."""

    topic: str
    needs: frozenset[str] | None = None
    session_id: str | None = None
    count: int = 1


# Those alike in what they wait for.
_Kind = tuple[frozenset[str], str | None]


class Parking:
    """Holds the commands that wait; `on_due` gets those whose time is up."""

    def __init__(self, on_due: Callable[[Item], None]) -> None:
        self._on_due = on_due
        # Of each kind in the order in which they came first, whoever has looked again meanwhile.
        self._topics: dict[str, dict[_Kind, list[Item]]] = {}
        self._places: dict[int, tuple[str, _Kind, asyncio.TimerHandle]] = {}
        # By message id: who got no answer in time and asked again is here more than once.
        self._copies: dict[str, list[Item]] = {}
        self._numbers = 0
        self._heard: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def heard(self) -> Counter[str]:
        """How often each topic has been woken, for `heard_since`."""
        return self._heard.copy()

    def heard_since(self, heard: Counter[str]) -> set[str]:
        """The topics that have been woken since."""
        return {topic for topic, times in self._heard.items() if times != heard[topic]}

    def admit(self, item: Item, wait: Wait) -> None:
        """Give a command its place among those that wait, and the end of its time, unless it has them already."""
        if item.waits_until is None:
            item.waits_until = asyncio.get_running_loop().time() + wait.seconds
            item.waits_for = wait.topic
            self._numbers += 1
            item.parked = self._numbers

    def park(self, item: Item, wait: Wait) -> None:
        """Keep a command, which was admitted, until it is woken or its time is up."""
        assert item.waits_until is not None
        loop = asyncio.get_running_loop()
        kind = wait.abilities, wait.session_id
        insort(self._topics.setdefault(wait.topic, {}).setdefault(kind, []), item, key=_place)
        self._places[id(item)] = wait.topic, kind, loop.call_at(item.waits_until, self._time_is_up, item)
        self._copies.setdefault(item.command.message_id, []).append(item)

    def wake(self, wakes: Iterable[Wake]) -> tuple[list[Item], list[Wake]]:
        """Take out as many commands as things have come, the longest waiting first; and what is left of the wakes."""
        woken: list[Item] = []
        left: list[Wake] = []
        for wake in wakes:
            self._heard[wake.topic] += 1
            if wake.needs is None:
                woken += [self._take(wake.topic, kind) for kind in list(self._topics.get(wake.topic, ()))]
                left.append(wake)
                continue
            count = wake.count
            while count and (kind := self._longest(wake)) is not None:
                woken.append(self._take(wake.topic, kind))
                count -= 1
            if count:
                left.append(Wake(wake.topic, wake.needs, wake.session_id, count))
        return woken, left

    def take_copies(self, message_ids: Iterable[str]) -> list[Item]:
        """Take out the commands with these ids, which were answered: they would be woken in place of others."""
        copies = [item for message_id in message_ids for item in self._copies.get(message_id, ())]
        for item in copies:
            self._remove(item)
        return copies

    def wake_all(self) -> list[Item]:
        """Take out every command."""
        items = [item for kinds in self._topics.values() for parked in kinds.values() for item in parked]
        self.clear()
        return items

    def clear(self) -> None:
        """Forget everything."""
        for _, _, timer in self._places.values():
            timer.cancel()
        self._places.clear()
        self._topics.clear()
        self._copies.clear()

    def _longest(self, wake: Wake) -> _Kind | None:
        """The kind this can wake whose first command has waited longest."""
        kinds = self._topics.get(wake.topic, {})
        if not kinds:
            return None
        able = [
            kind
            for kind in kinds
            if wake.needs is not None and wake.needs <= kind[0] and kind[1] in (None, wake.session_id)
        ]
        return min(able, key=lambda kind: kinds[kind][0].parked, default=None)

    def _take(self, topic: str, kind: _Kind) -> Item:
        item = self._topics[topic][kind][0]
        self._remove(item)
        return item

    def _remove(self, item: Item) -> None:
        topic, kind, timer = self._places.pop(id(item))
        timer.cancel()
        copies = self._copies[item.command.message_id]
        copies[:] = [each for each in copies if each is not item]
        if not copies:
            del self._copies[item.command.message_id]
        kinds = self._topics[topic]
        del kinds[kind][bisect_left(kinds[kind], item.parked, key=_place)]
        if not kinds[kind]:
            del kinds[kind]
            if not kinds:
                del self._topics[topic]

    def _time_is_up(self, item: Item) -> None:
        self._remove(item)
        self._on_due(item)


def _place(item: Item) -> int:
    return item.parked


def as_rows(wakes: Sequence[Wake]) -> list[list[object]]:
    """Wakes as they travel."""
    return [
        [wake.topic, None if wake.needs is None else sorted(wake.needs), wake.session_id, wake.count] for wake in wakes
    ]


def from_rows(rows: Sequence[Sequence[Any]]) -> list[Wake]:
    """Wakes that have travelled."""
    return [
        Wake(str(topic), None if needs is None else frozenset(needs), session_id, count)
        for topic, needs, session_id, count in rows
    ]


def joined(wakes: Iterable[Wake]) -> list[Wake]:
    """Wakes of one kind as one."""
    counts: dict[tuple[str, frozenset[str] | None, str | None], int] = {}
    for wake in wakes:
        key = wake.topic, wake.needs, wake.session_id
        counts[key] = counts.get(key, 0) + wake.count
    return [Wake(*key, count=count) for key, count in counts.items()]
