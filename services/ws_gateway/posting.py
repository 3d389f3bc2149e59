"""What the gateway tells the workers by the way: sent in batches, in order, and kept while the broker is away."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from typing import Any

from shared.errors import BusError, Rejected
from shared.logs import get_logger
from shared.messages import new_id

RETRY_SECONDS = 0.5

# Sends these items under a message id, the same one when it is tried again. Raises `BusError` or TimeoutError while
# they can't be sent, `Rejected` when they never can.
Send = Callable[[Sequence[Any], str], Awaitable[None]]

log = get_logger()


class Posting:
    """A bounded buffer, and the task that empties it."""

    def __init__(self, name: str, send: Send, *, at_most: int, wait_s: float, room: int) -> None:
        """`at_most` items go together, `wait_s` seconds after the first at the latest; of more than `room` the oldest
        are dropped, which the log is told of under `name`.
        """
        self._name = name
        self._send = send
        self._at_most = at_most
        self._wait_s = wait_s
        self._room = room
        self._items: OrderedDict[Hashable, Any] = OrderedDict()
        self._batch: list[Any] = []
        self._message_id = ""
        self._number = 0
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._one = asyncio.Lock()
        self._untold = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items) + len(self._batch)

    @property
    def waiting(self) -> list[Any]:
        """What was not sent yet, in order."""
        return [*self._batch, *self._items.values()]

    def add(self, item: Any, key: Hashable = None) -> None:
        """Have an item sent; one with the same key that still waits is replaced by it."""
        if key is None:
            self._number += 1
            key = self._number
        self._items[key] = item
        if len(self._items) > self._room:
            self._items.popitem(last=False)
            self.dropped += 1
            self._untold += 1
        self._some.set()
        if len(self._items) >= self._at_most:
            self._full.set()

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            await self._some.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    await self._full.wait()
            if not await self._post():
                await asyncio.sleep(RETRY_SECONDS)

    async def finish(self, patience: float) -> None:
        """Send all that is there, for `patience` seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while len(self):
                    if not await self._post():
                        await asyncio.sleep(RETRY_SECONDS)
        if left := len(self):
            log.warning(f"{self._name}_not_sent", count=left)

    async def _post(self) -> bool:
        """Send a batch; false when that can't be done now: it stays the next one."""
        async with self._one:
            return await self._post_next()

    async def _post_next(self) -> bool:
        if not self._batch:
            keys = list(islice(self._items, self._at_most))
            self._batch = [self._items.pop(key) for key in keys]
            self._message_id = new_id()
        if len(self._items) < self._at_most:
            self._full.clear()
        if self._batch:
            try:
                await self._send(self._batch, self._message_id)
            except (BusError, TimeoutError):
                return False
            except Rejected as rejected:
                log.error(f"{self._name}_refused", count=len(self._batch), reason=rejected.message)
            self._batch = []
        if not self._items:
            self._some.clear()
        if self._untold:
            log.warning(f"{self._name}_dropped", count=self._untold)
            self._untold = 0
        return True
