"""The end of a runner that is told to stop: how long what is in hand has, and what is left when the gateway is away."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from switchyard_client.agents.run import Run
from switchyard_client.connection import Connection
from switchyard_client.errors import SwitchyardError

TOLD_TO_STOP = "the runner was told to stop"
# From SIGTERM to SIGKILL, for a process that has had its grace.
_TERM_SECONDS = 5.0
# Behind the grace, for processes to end and for all of it to be told.
_LAST_SECONDS = 20.0
# What is left removes its files.
_LEAVE_SECONDS = 5.0
_LOOK_SECONDS = 0.2

T = TypeVar("T")


class LeftUntold(SwitchyardError):
    """The runner was told to stop, and something that the server should know could not be told."""


@dataclass(eq=False)
class InHand:
    """What one hand of the runner is at: a task, or a run by itself."""

    task_id: str | None = None
    run: Run | None = None

    @property
    def is_begun(self) -> bool:
        """Whether the server knows of a run."""
        return self.run is not None and self.run.is_begun

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, or is about to be."""
        return self.is_begun and self.run is not None and self.run.ending is None

    @property
    def left(self) -> str:
        """What is not told when it is left as it is, and what becomes of that."""
        if self.run is None or not self.run.is_begun:
            return f"task {self.task_id} was not begun: {_LAPSES}" if self.task_id else "no run was begun"
        after = _LAPSES if self.task_id else "its session stays open"
        if untold := self.run.untold:
            return f"run {self.run.facts.run_id}: {untold} could not be told and is gone; it will be lost, and {after}"
        what = f"what came of task {self.task_id}" if self.task_id else "the end of its session"
        return f"run {self.run.facts.run_id}: {what} could not be told; {after}"


_LAPSES = "the task's lease lapses within 60 s, and it is tried again if it has attempts left"


class Stopping:
    """Whether the runner is to stop, and the time that things in hand have then."""

    def __init__(self, bus: Connection, grace_s: float, say: Callable[[str], None]) -> None:
        """`say` is told what is waited for, and what is left."""
        self._bus = bus
        self._grace_s = grace_s
        self._say = say
        self._told = asyncio.Event()

    def set(self) -> None:
        """The runner is to stop."""
        self._told.set()

    def is_set(self) -> bool:
        """Whether the runner is to stop."""
        return self._told.is_set()

    async def unless_set(self, waiting: Coroutine[Any, Any, T]) -> T | None:
        """What is waited for; None when the runner is to stop before it is there."""
        task, told = asyncio.create_task(waiting), asyncio.create_task(self._told.wait())
        try:
            await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, told):
                each.cancel()

    async def finish(self, in_hand: dict[asyncio.Task[Any], InHand]) -> None:
        """Wait for what is in hand, if the runner is to stop not for ever.

        Processes have the grace to end, and are ended then. What is to be told of them has until then too, and longer
        only while the gateway is there. Raises `LeftUntold` when something of it was left.
        """
        doing = dict(in_hand)
        if doing:
            await self.unless_set(asyncio.wait(set(doing)))
        doing = {task: hand for task, hand in doing.items() if not task.done()}
        if not doing:
            return
        self._say(f"stopping: {len(doing)} in hand may take {self._grace_s:g} s to end")
        grace_ends = time.monotonic() + self._grace_s
        is_over = False
        left: set[asyncio.Task[Any]] = set()
        while waits := {task for task in doing if not task.done()} - left:
            now = time.monotonic()
            if not is_over and now >= grace_ends:
                is_over = True
                for hand in doing.values():
                    if hand.run is not None:
                        hand.run.end_soon("stopped", TOLD_TO_STOP, _TERM_SECONDS)
            for task in waits:
                hand = doing[task]
                is_idle = not (self._bus.connected or hand.is_alive) and (is_over or not hand.is_begun)
                if is_idle or now >= grace_ends + _LAST_SECONDS:
                    self._say(hand.left)
                    task.cancel()
                    left.add(task)
            if waits - left:
                await asyncio.wait(waits - left, timeout=_LOOK_SECONDS)
        if left:
            await asyncio.wait(left, timeout=_LEAVE_SECONDS)
            raise LeftUntold(f"ended without the gateway at {self._bus.url}, which is away: see above what is left")
