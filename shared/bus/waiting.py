"""The commands of a worker that wait for something: parked here, woken by what is done here or at another replica."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from shared.bus.commit import Answer, Outcome
from shared.bus.items import Item
from shared.bus.parking import MAX_PARKED, Parking, Wait, Wake, joined
from shared.bus.publisher import Publisher
from shared.bus.wakes import Wakes, tell


class Waiting:
    """Parks commands that find nothing; `resume` gets those that shall look again, perhaps none."""

    def __init__(self, url: str, *, name: str, publisher: Publisher, resume: Callable[[list[Item]], None]) -> None:
        self._publisher = publisher
        self._resume = resume
        self._parking = Parking(lambda item: resume([item]))
        self._wakes = Wakes(
            url, name=name, publisher=publisher,
            on_wakes=lambda wakes: resume(self._parking.wake(wakes)[0]),
            on_missed=lambda: resume(self._parking.wake_all()),
        )  # fmt: skip

    async def hear(self) -> None:
        """Hear, until cancelled, what other replicas have for commands that are parked here."""
        await self._wakes.run()

    def may_wait(self, first: Mapping[str, Item]) -> frozenset[str]:
        """The commands that may be parked if they find nothing; the others are then answered so."""
        if len(self._parking) + len(first) > MAX_PARKED:
            return frozenset()
        now = asyncio.get_running_loop().time()
        return frozenset(each for each, item in first.items() if item.waits_until is None or now < item.waits_until)

    def heard(self) -> Counter[str]:
        """How often each topic has been woken, for `heard_since`."""
        return self._parking.heard()

    def heard_since(self, heard: Counter[str]) -> set[str]:
        """The topics that something came for meanwhile: those that looked for it may have looked too early."""
        return self._parking.heard_since(heard)

    def park(self, item: Item, wait: Wait, missed: set[str]) -> None:
        """Keep a command until it is woken or its time is up; if it may have looked too early, it looks again."""
        self._parking.admit(item, wait)
        if wait.topic in missed:
            self._resume([item])
        else:
            self._parking.park(item, wait)

    def committed(self, batch: Sequence[Item], answers: Mapping[str, Answer]) -> None:
        """Wake whom a batch gives something, here or at another replica; and the copies of what it has answered."""
        outcomes = {message_id: each for message_id, each in answers.items() if isinstance(each, Outcome)}
        self._resume(self._parking.take_copies(outcomes))
        wakes = [wake for outcome in outcomes.values() for wake in outcome.wakes]
        for item in batch:
            outcome = outcomes.get(item.command.message_id)
            if item.parked and outcome is not None and outcome.outcome == "repeated":
                # A copy of what was answered elsewhere may have been woken in another's place.
                wakes.append(Wake(item.waits_for))
        if not wakes:
            return
        woken, left = self._parking.wake(joined(wakes))
        self._resume(woken)
        if left:
            tell(self._publisher, left, self._wakes.id)

    def take_all(self) -> list[Item]:
        """Take out every command."""
        return self._parking.wake_all()

    def clear(self) -> None:
        """Forget every command."""
        self._parking.clear()
