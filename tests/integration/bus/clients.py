"""Clients of the bus, started and ended with a test."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import aio_pika

from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.bus.tail import Start, StreamEvent, Tail


class Clients:
    """Makes clients; all of them end when the stack is closed."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run something beside the test, cancelled at its end; its failure is the test's failure."""
        task = asyncio.ensure_future(work)
        self._stack.push_async_callback(_end, task)
        return task

    def on_exit(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run something at the end of the test."""
        self._stack.push_async_callback(work)

    async def publisher(self, url: str, *, connected: bool = True) -> Publisher:
        """A running publisher; with `connected` false the broker may be away."""
        publisher = Publisher(url, name="test")
        self.spawn(publisher.run())
        if connected:
            async with asyncio.timeout(20):
                await publisher.wait_connected()
        return publisher

    async def rpc(self, url: str) -> Rpc:
        """A client for questions, with a publisher of its own."""
        publisher = Publisher(url, name="test rpc")
        rpc = Rpc(publisher)
        self.spawn(publisher.run())
        async with asyncio.timeout(20):
            await publisher.wait_connected()
        return rpc

    def tail(self, url: str, *, start: Start = "first", **options: Any) -> list[StreamEvent]:
        """Follow the event stream; returns the list that fills."""
        events: list[StreamEvent] = []
        self.spawn(Tail(url, name="test", on_events=events.extend, start=start, **options).run())
        return events

    async def connection(self, url: str) -> Connection:
        """A bare connection."""
        return await self._stack.enter_async_context(await Connection.open(url, name="test"))

    async def short_connection(self, url: str) -> Connection:
        """A bare connection the test closes itself."""
        return await Connection.open(url, name="test")

    async def consume(self, url: str, queue: str, on_deliveries: Callable[[list[Delivery]], None]) -> Connection:
        """A connection that hands on what is in a queue, unacknowledged."""
        connection = await self.connection(url)
        await connection.consume(queue, on_deliveries, prefetch=100)
        return connection

    async def letters(self, url: str, queue: str = "switchyard.dead-letters") -> list[Delivery]:
        """The list that fills with what is in a queue, the dead letters unless named."""
        found: list[Delivery] = []
        await self.consume(url, queue, found.extend)
        return found

    async def stranger(self, url: str) -> aio_pika.abc.AbstractChannel:
        """A channel of an ordinary AMQP client, as any other program has one."""
        connection = await self._stack.enter_async_context(await aio_pika.connect(url))
        return await connection.channel()


async def _end(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], Any], deadline: float = 15) -> Any:
    """Wait until a condition without I/O is true; returns its value."""
    end = asyncio.get_running_loop().time() + deadline
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < end, f"did not come true within {deadline:g} s (last: {value!r})"
        await asyncio.sleep(0.01)
    return value
