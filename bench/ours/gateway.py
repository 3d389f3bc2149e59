"""Our gateway for the fan-out: with its hub fed from inside, or as it runs, its events through the broker."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from bench.load.events import ROUTING_KEY
from bench.load.offer import offer
from bench.load.sink import Sink
from bench.plan import Plan
from bench.processes import Broken, Program, python
from bench.references.minimal_amqp import Publisher, publish_frame
from cli.local.environment import free_environment
from cli.local.rabbitmq import RabbitMQ
from cli.local.stack import ready
from shared.bus.topology import EVENTS

TO_EVENT_LOG = publish_frame(EVENTS, ROUTING_KEY)
PATIENCE = 20.0


async def start_process(stack: AsyncExitStack, plan: Plan) -> tuple[Program, int, str, RabbitMQ]:
    """Start the gateway on a broker of its own; returns it, its port, its secret and the broker."""
    broker = RabbitMQ(plan.directory / "fanout-broker")
    stack.callback(broker.stop)
    broker.start()
    environment = free_environment(
        AMQP_URL=broker.url,
        SWITCHYARD_DATA=str(plan.directory / "gateway"),
        SWITCHYARD_LOG_LEVEL=plan.log_level,
    )
    port = environment.gateway_port
    program = await Program.start(
        "ws_gateway",
        *python("services.ws_gateway"),
        directory=plan.directory,
        env=environment.for_children(),
        port=port,
    )
    stack.push_async_callback(program.stop)
    deadline, reason = time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        well, reason = await asyncio.to_thread(ready, port)
        if well:
            return program, port, environment.get("SWITCHYARD_SECRET"), broker
        await asyncio.sleep(0.1)
    raise Broken(f"the gateway is not ready: {reason}")


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
        """One run, as `contestants.Publish` says. Flat out, one burst is on its way while another goes out."""
        sent = 0

        async def send(events: list[bytes]) -> None:
            nonlocal sent
            await asyncio.gather(*[self._publisher.publish(TO_EVENT_LOG, event) for event in events])
            if rate == 0 and self.sink:
                await self.sink.reached(sent * self.sink.clients, PATIENCE)
            sent += len(events)

        return (await offer(send, burst, rate, seconds)).events
