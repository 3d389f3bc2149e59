"""Flood control: how many frames an address may send, how many connections it may open. Free of I/O."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal
from weakref import WeakValueDictionary

from services.ws_gateway.door.addresses import counted_as
from shared.limits import Bucket

# Addresses without a connection whose past is remembered; each costs about half a kilobyte.
REMEMBERED_ADDRESSES = 20_000
# At once there may be as much as comes in so many seconds: everyone of a house reconnects after a restart.
BURST_SECONDS = {"frames": 4, "connections": 10}
TELL_SECONDS = 60.0

What = Literal["flooding", "connection_flood"]
# Given what floods, the address, and a sentence about it.
Tell = Callable[[What, str, str], None]


class Source:
    """An address that connections come from, IPv6 by its /64."""

    __slots__ = ("__weakref__", "_connections", "_flooding", "_frames", "_told_at", "address")

    def __init__(self, address: str, flooding: Callable[["Source", What], None], frames: int, connections: int) -> None:
        self.address = address
        self._flooding = flooding
        self._frames = Bucket(frames, frames * BURST_SECONDS["frames"])
        self._connections = Bucket(connections, connections * BURST_SECONDS["connections"])
        self._told_at: dict[What, float] = {}

    def frame(self) -> bool:
        """Count a frame of any of its connections; false when there were too many."""
        if self._frames.take():
            return True
        self._flooding(self, "flooding")
        return False

    def uncount(self) -> None:
        """Take the last frame for not sent: the gateway asked for it."""
        self._frames.take(count=-1)

    def connection(self) -> bool:
        """Count a new connection; false when there were too many."""
        if self._connections.take():
            return True
        self._flooding(self, "connection_flood")
        return False

    def is_news(self, what: What) -> bool:
        """Whether its flooding was not told of within the last minute; from now on it was."""
        now = time.monotonic()
        if now - self._told_at.get(what, -TELL_SECONDS) < TELL_SECONDS:
            return False
        self._told_at[what] = now
        return True


class Floods:
    """All addresses that connections have come from of late, and those that have some."""

    def __init__(
        self,
        *,
        frames_a_second: int = 5_000,
        connections_a_second: int = 500,
        remembered: int = REMEMBERED_ADDRESSES,
        tell: Tell = lambda what, address, detail: None,
    ) -> None:
        self.tell = tell
        self._frames = frames_a_second
        self._connections = connections_a_second
        self._remembered = remembered
        # Whoever has a connection is known for as long, and the last ones besides: else many addresses would make
        # those forgotten that flood.
        self._known: WeakValueDictionary[str, Source] = WeakValueDictionary()
        self._recent: OrderedDict[str, Source] = OrderedDict()
        self.refused = 0

    def __len__(self) -> int:
        return len(self._known)

    def source(self, address: str) -> Source:
        """What is counted of an address; to be kept as long as its connection lives."""
        name = counted_as(address)
        source = self._recent.get(name)
        if source is not None:
            self._recent.move_to_end(name)
            return source
        source = self._known.get(name)
        if source is None:
            source = self._known[name] = Source(name, self._is_flooding, self._frames, self._connections)
        self._recent[name] = source
        if len(self._recent) > self._remembered:
            self._recent.popitem(last=False)
        return source

    def _is_flooding(self, source: Source, what: What) -> None:
        self.refused += 1
        if source.is_news(what):
            allowed = f"{self._frames} frames" if what == "flooding" else f"{self._connections} new connections"
            self.tell(what, source.address, f"more than {allowed} a second from one address")
