"""Following the event stream: from an offset, through reconnects, without a hole."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal, NamedTuple

from pamqp import commands as amqp

from shared.bus.bodies import unpacked
from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.publisher import RECONNECT_SECONDS
from shared.bus.topology import EVENT_LOG
from shared.errors import Rejected, Unavailable
from shared.logs import get_logger

PREFETCH = 2000
Start = int | Literal["first", "last", "next"]
log = get_logger()


class StreamEvent(NamedTuple):
    """An event as the stream holds it."""

    offset: int
    routing_key: str
    body: bytes
    message_id: str


def _event(delivery: Delivery) -> StreamEvent:
    try:
        body = unpacked(delivery)
    except Rejected as error:
        log.error("event_unreadable", offset=delivery.stream_offset, reason=str(error))
        body = b""
    return StreamEvent(delivery.stream_offset, delivery.routing_key, body, delivery.message_id)


class Tail:
    """Hands on every event from `start` in the stream's order; reconnects by itself and goes on where it was.

    `on_events` gets all that came in one read together; when it is a coroutine the next ones wait for it, and the
    broker sends at most 2,000 ahead. After a reconnect `on_reconnect` is asked where to go on, if given (a recreated
    stream has other offsets), else it is the last offset + 1.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        on_events: Callable[[list[StreamEvent]], Awaitable[None] | None],
        start: Start,
        on_reconnect: Callable[[], Awaitable[Start]] | None = None,
    ) -> None:
        self._url = url
        self._name = name
        self._on_events = on_events
        self._on_reconnect = on_reconnect
        self._next: Start = start
        self.connected = False

    async def run(self) -> None:
        """Follow until cancelled."""
        first = True
        while True:
            try:
                if not first and self._on_reconnect:
                    self._next = await self._on_reconnect()
                async with await Connection.open(self._url, name=f"{self._name} tail") as connection:
                    await self._follow(connection)
            except (Unavailable, TimeoutError) as error:
                log.warning("tail_lost", reason=str(error) or "timed out", retry_s=RECONNECT_SECONDS)
            finally:
                self.connected = False
            first = False
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self, connection: Connection) -> None:
        if self._next in ("next", "last"):
            # As a number, so that what comes while the connection is lost before the first event is not passed over.
            newest = await last_offset(self._url, name=self._name)
            self._next = newest + 1 if self._next == "next" else max(newest, 0)
        arrived: asyncio.Queue[list[Delivery] | None] = asyncio.Queue()
        connection.closed.add_done_callback(lambda _: arrived.put_nowait(None))
        await connection.consume(
            EVENT_LOG, arrived.put_nowait, prefetch=PREFETCH, arguments={"x-stream-offset": self._next}
        )
        self.connected = True
        log.info("tail_connected", start=self._next)
        while (deliveries := await arrived.get()) is not None:
            # The broker starts at the chunk that holds the offset, so a few earlier ones may come first.
            least = self._next if isinstance(self._next, int) else 0
            events = [event for event in map(_event, deliveries) if event.offset >= least]
            if events:
                handled = self._on_events(events)
                if handled is not None:
                    await handled
                self._next = events[-1].offset + 1
            connection.ack(deliveries[-1].tag, multiple=True)
        raise Unavailable(connection.closed.result())


async def read_range(url: str, *, name: str, after: int, until: int) -> AsyncGenerator[list[StreamEvent], None]:
    """The events with offsets in (after, until], as far as the stream still holds them, in order.

    Ends at the first event at or past `until`; the caller knows from its tail that there is one. Raises `Unavailable`.
    """
    async with await Connection.open(url, name=f"{name} reader") as connection:
        arrived: asyncio.Queue[list[Delivery] | None] = asyncio.Queue()
        connection.closed.add_done_callback(lambda _: arrived.put_nowait(None))
        await connection.consume(EVENT_LOG, arrived.put_nowait, prefetch=500, arguments={"x-stream-offset": after + 1})
        while True:
            async with asyncio.timeout(10):
                deliveries = await arrived.get()
            if deliveries is None:
                raise Unavailable(connection.closed.result())
            events = [event for event in map(_event, deliveries) if after < event.offset <= until]
            if events:
                yield events
            if deliveries[-1].stream_offset >= until:
                return
            connection.ack(deliveries[-1].tag, multiple=True)


async def last_offset(url: str, *, name: str) -> int:
    """The offset of the newest event in the stream, -1 when it is empty. Raises `Unavailable`."""
    newest = -1

    def take(deliveries: list[Delivery]) -> None:
        nonlocal newest
        newest = deliveries[-1].stream_offset
        connection.ack(deliveries[-1].tag, multiple=True)

    async with await Connection.open(url, name=f"{name} reader") as connection:
        await connection.consume(EVENT_LOG, take, prefetch=PREFETCH, arguments={"x-stream-offset": "last"})
        # The last chunk comes at once, and nothing says where it ends, or that there is none. A broker with much to do
        # is late with everything, so each look waits for an answer of its first; and in a busy stream there is always
        # more to come, so the looks are counted.
        for _ in range(5):
            await connection.call(amqp.Basic.Qos(prefetch_count=PREFETCH))
            before = newest
            await asyncio.sleep(0.1)
            if newest == before >= 0:
                break
    return newest
