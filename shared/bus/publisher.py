"""The publisher: one connection of its own, kept open, every message persistent, mandatory and confirmed."""

import asyncio
from collections.abc import Callable
from typing import Any

from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.topology import declare
from shared.errors import Unavailable, Unconfirmed
from shared.logs import get_logger

REPLIES = "amq.rabbitmq.reply-to"
RECONNECT_SECONDS = 0.5
log = get_logger()


class Publisher:
    """Publishes with confirms and reconnects by itself; makes the topology each time it connects.

    With `on_replies` it also takes the answers to messages sent with `reply_to=REPLIES`: RabbitMQ gives those to the
    channel that published the question, so both must share it.
    """

    def __init__(self, url: str, *, name: str, on_replies: Callable[[list[Delivery]], None] | None = None) -> None:
        self._url = url
        self._name = name
        self.on_replies = on_replies
        self._connection: Connection | None = None
        self._ready = asyncio.Event()
        # Called when a connection was lost, with the reason.
        self.on_lost: Callable[[str], None] = lambda reason: None

    async def run(self) -> None:
        """Keep a connection open until cancelled."""
        said = ""
        while True:
            try:
                connection = await Connection.open(self._url, name=f"{self._name} publisher")
                async with connection:
                    async with asyncio.timeout(15):
                        await declare(connection)
                        if self.on_replies:
                            await connection.consume(REPLIES, self.on_replies, no_ack=True)
                    self._connection = connection
                    self._ready.set()
                    log.info("broker_connected", role="publisher")
                    said = ""
                    reason = await asyncio.shield(connection.closed)
                    log.warning("broker_lost", role="publisher", reason=reason)
                    self.on_lost(reason)
            except (Unavailable, TimeoutError) as error:
                if (why := str(error) or "timed out") != said:
                    log.warning("broker_away", role="publisher", reason=why, retry_s=RECONNECT_SECONDS)
                    said = why
            finally:
                self._ready.clear()
                self._connection = None
            await asyncio.sleep(RECONNECT_SECONDS)

    @property
    def connected(self) -> bool:
        """Whether a message can be published now: connected, and the broker has raised no alarm."""
        return self._connection is not None and not self._connection.closed.done() and not self._connection.blocked

    async def wait_connected(self) -> None:
        """Wait until there is a connection."""
        await self._ready.wait()

    def send(
        self, exchange: str, routing_key: str, body: bytes, *, message_id: str, **properties: Any
    ) -> asyncio.Future[None]:
        """Publish without waiting; the future resolves at the confirm (errors: see `Connection.send`).

        Pipelining is for callers that bound what they have under way themselves.
        """
        if self._connection is None or self._connection.blocked:
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(
                Unavailable("the broker is away" if self._connection is None else "the broker is blocked")
            )
            return refused
        return self._connection.send(exchange, routing_key, body, message_id=message_id, **properties)

    async def publish(
        self, exchange: str, routing_key: str, body: bytes, *, message_id: str, deadline: float = 2.5, **properties: Any
    ) -> None:
        """Publish and wait for the confirm, `deadline` seconds at most.

        Raises `Unavailable`: certainly not kept. `Unconfirmed`: unknown; publish again with the same `message_id`.
        `Unroutable`: no queue takes it.
        """
        confirm = self.send(exchange, routing_key, body, message_id=message_id, **properties)
        try:
            async with asyncio.timeout(deadline):
                await confirm
        except TimeoutError:
            raise Unconfirmed(f"no confirm from the broker within {deadline:g} s") from None
