"""Our gateway for the fan-out: with its hub fed from inside, or as it runs, its events through the broker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bench import systems
from bench.load.events import ROUTING_KEY
from bench.load.offer import offer
from bench.load.sink import Sink
from bench.plan import Plan
from bench.references.minimal_amqp import Publisher, publish_frame
from cli.local.stack import Stack
from shared.bus.topology import EVENTS

TO_EVENT_LOG = publish_frame(EVENTS, ROUTING_KEY)
PATIENCE = 20.0


def start_process(stack: AsyncExitStack, plan: Plan) -> Stack:
    """Start the gateway on a broker of its own.

    The session worker tells it once which event log this is, and is stopped then: its recorder would take its share of
    the machine in the runs.
    """
    running = systems.start_services(plan, stack, systems.start_servers(plan, stack), ["ws_gateway", "session_worker"])
    running.process("session_worker").stop()
    return running


class ThroughBroker:
    """Publishes to the event exchange, confirmed, and watches the receivers so that the gateway always has work."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.sink: Sink | None = None

    @classmethod
    async def open(cls, url: str, stack: AsyncExitStack) -> ThroughBroker:
        """Connect to the broker; closed with the stack."""
        publisher = await Publisher.open(url)
        stack.callback(publisher.close)
        return cls(publisher)

    async def publish(self, burst: int, rate: float, seconds: float) -> int:
        """One run, as `contestants.Publish` says.

        Flat out, a burst is published once the one before has begun to arrive: it reaches the gateway while that one is
        being written, so the gateway never waits, and never has two bursts to join.
        """
        sent = 0

        async def send(events: list[bytes]) -> None:
            nonlocal sent
            await asyncio.gather(*[self._publisher.publish(TO_EVENT_LOG, event) for event in events])
            if rate == 0 and self.sink:
                await self.sink.reached(sent * self.sink.clients + self.sink.clients // 20, PATIENCE)
            sent += len(events)

        return (await offer(send, burst, rate, seconds)).events
