"""Telling the other replicas of a worker that something has come which commands parked there may be waiting for.

A wake that is lost costs its waiter no more than the rest of his waiting: so nothing of it is durable or confirmed.
What may have been missed while the connection was away is made up for by waking everybody once.
"""

import asyncio
from collections.abc import Callable, Sequence

import orjson
from pamqp import commands as amqp

from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.parking import Wake, as_rows, from_rows
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.bus.topology import WAKES
from shared.errors import BusError, Unavailable
from shared.logs import get_logger
from shared.messages import new_id

log = get_logger()


def tell(publisher: Publisher, wakes: Sequence[Wake], sender: str) -> None:
    """Let every replica but `sender` know; whoever is not connected does not hear of it."""
    body = orjson.dumps(as_rows(wakes))
    publisher.send(
        WAKES, "", body, message_id="", mandatory=False, persistent=False, correlation_id=sender
    ).add_done_callback(_forget)


class Wakes:
    """Hears what the other replicas tell, on an exclusive queue that goes with its connection; reconnects by itself."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        publisher: Publisher,
        on_wakes: Callable[[list[Wake]], None],
        on_missed: Callable[[], None],
    ) -> None:
        """`on_missed` is called whenever wakes may have been missed: at each connection but the first."""
        self._url = url
        self._name = name
        self._publisher = publisher
        self._on_wakes = on_wakes
        self._on_missed = on_missed
        self.id = new_id()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            await self._publisher.wait_connected()
            try:
                async with await Connection.open(self._url, name=f"{self._name} wakes") as connection:
                    queue = f"{self._name}.wakes.{new_id()}"
                    await connection.call(amqp.Queue.Declare(queue=queue, exclusive=True, auto_delete=True))
                    await connection.call(amqp.Queue.Bind(queue=queue, exchange=WAKES, routing_key=""))
                    await connection.consume(queue, self._on_deliveries, no_ack=True)
                    self._on_missed()
                    await asyncio.shield(connection.closed)
            except Unavailable as error:
                log.debug("wakes_away", reason=str(error))
            await asyncio.sleep(RECONNECT_SECONDS)

    def _on_deliveries(self, deliveries: list[Delivery]) -> None:
        wakes: list[Wake] = []
        for delivery in deliveries:
            if delivery.correlation_id != self.id:
                try:
                    wakes += from_rows(orjson.loads(delivery.body))
                except (ValueError, TypeError) as error:  # another program's
                    log.warning("wake_unreadable", reason=str(error))
        if wakes:
            self._on_wakes(wakes)


def _forget(confirm: asyncio.Future[None]) -> None:
    if not confirm.cancelled() and isinstance(error := confirm.exception(), BusError):
        log.debug("wake_lost", reason=str(error))
