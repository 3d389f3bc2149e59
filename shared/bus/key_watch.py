"""Keeps a door's key ring as the database has it: asked for at the start, after each change, and once a minute.

A change is that of a key, or that tokens were revoked.
"""

import asyncio
from collections.abc import Callable

import msgspec
from pamqp import commands as amqp

from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.bus.rpc import Rpc
from shared.bus.topology import EVENTS
from shared.errors import BusError, Rejected, Unavailable
from shared.key_ring import KeyRing
from shared.logs import get_logger
from shared.messages.access import KeyChanged, RingKey
from shared.messages.live import RevokedTokens, TokensRevoked

# Only a net: changes are told, and what was missed while the broker was away is asked for after the reconnect.
REFRESH_SECONDS = 60.0
_QUERY_SECONDS = 2.0
log = get_logger()


class _Ring(msgspec.Struct):
    keys: list[dict[str, object]]
    revoked: list[str]
    revoked_tokens: list[dict[str, object]] = []


class KeyWatch:
    """Listens for changed keys and asks for the ring; with broker or database away, the last known one stays."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        publisher: Publisher,
        rpc: Rpc,
        ring: KeyRing,
        on_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._url = url
        self._name = name
        self._publisher = publisher
        self._rpc = rpc
        self._ring = ring
        self._on_changed = on_changed
        self._stale = asyncio.Event()
        self._known = b""

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._refresh())

    async def _listen(self) -> None:
        while True:
            # The exchange is made by the publisher when it connects.
            await self._publisher.wait_connected()
            try:
                async with await Connection.open(self._url, name=f"{self._name} keys") as connection:
                    declared = await connection.call(amqp.Queue.Declare(queue="", exclusive=True, auto_delete=True))
                    for topic in (KeyChanged.topic, TokensRevoked.topic):
                        await connection.call(amqp.Queue.Bind(queue=declared.queue, exchange=EVENTS, routing_key=topic))
                    await connection.consume(declared.queue, self._on_events, no_ack=True)
                    self._stale.set()
                    await asyncio.shield(connection.closed)
            except Unavailable as error:
                log.warning("key_watch_lost", reason=str(error), retry_s=RECONNECT_SECONDS)
            await asyncio.sleep(RECONNECT_SECONDS)

    def _on_events(self, deliveries: list[Delivery]) -> None:
        self._stale.set()

    async def _refresh(self) -> None:
        said = ""
        while True:
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._stale.wait()
            except TimeoutError:
                pass
            # Before asking: what changes from here on is asked for again.
            self._stale.clear()
            try:
                await self._ask()
                said = ""
            except (Rejected, BusError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
                # The last two: an answer of a worker of another version. What is known is better than none.
                self._stale.set()
                if (reason := str(error) or "no answer") != said:
                    log.warning("key_ring_not_loaded", reason=reason, known=self._ring.loaded, keys=len(self._ring))
                    said = reason
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _ask(self) -> None:
        answer = await self._rpc.query("get_key_ring", {}, sender=self._name, wait=_QUERY_SECONDS)
        ring = msgspec.json.decode(answer.text, type=_Ring)
        self._ring.replace(
            [RingKey.model_validate(key) for key in ring.keys],
            ring.revoked,
            [RevokedTokens.model_validate(tokens) for tokens in ring.revoked_tokens],
        )
        if answer.text != self._known:
            self._known = answer.text
            log.info("key_ring_loaded", keys=len(ring.keys))
            self._on_changed()
