"""Ingress: signed GitHub bodies of 10 kB, answered 202 only after a quorum queue's confirm."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aio_pika

from bench.figures import OURS, Benchmark, Goal, Measure
from bench.load.webhooks import SECRET, wrk_environment
from bench.load.wrk import CONNECTIONS, Answered, wrk
from bench.plan import Plan
from bench.processes import Program, python, usage
from cli.local.environment import free_environment
from cli.local.ports import free_port
from cli.local.rabbitmq import RabbitMQ

SECONDS = 5.0
FASTAPI = "FastAPI + FastStream"
ASGI = "bare ASGI, raw AMQP"


@dataclass(frozen=True)
class Door:
    """One HTTP server that publishes what it is sent to `queue`."""

    name: str
    port: int
    queue: str
    pid: int


async def run(plan: Plan) -> Benchmark:
    """Each door in turn under 64 connections, three times, all publishing to one private broker."""
    rate = Measure("accepted webhooks", "requests/s", goals=(Goal(OURS, 2, FASTAPI), Goal(OURS, 0.5, ASGI)))
    cpu = Measure("the process's CPU for a request", "µs", "lower")
    p50 = Measure("p50", "ms", "lower")
    p99 = Measure("p99", "ms", "lower", goals=(Goal(OURS, value=40),))
    seconds = plan.seconds or SECONDS
    broker = RabbitMQ(plan.directory / "ingress-broker")
    plan.say("ingress: starting a broker")
    broker.start()
    try:
        async with AsyncExitStack() as stack:
            doors = await start(stack, plan, broker.url)
            for door in doors:
                await _offer(door, plan, broker.url, 1)
            for number in range(plan.runs):
                plan.noise.sample()
                for door in doors:
                    plan.say(f"ingress {number + 1}/{plan.runs}: {door.name}")
                    used = usage(door.pid)[0]
                    answered = await _offer(door, plan, broker.url, seconds)
                    cpu.add(door.name, (usage(door.pid)[0] - used) / answered.requests * 1e6)
                    if answered.failed or answered.broken:
                        raise RuntimeError(f"{door.name}: requests failed: {answered}")
                    rate.add(door.name, answered.per_second)
                    p50.add(door.name, answered.p50_ms)
                    p99.add(door.name, answered.p99_ms, f"max {answered.max_ms:.0f} ms")
    finally:
        broker.stop()
    title = f"Ingress, 10 kB signed body, 202 after a quorum queue's confirm, one process, {CONNECTIONS} connections"
    return Benchmark("ingress", title, [rate, cpu, p50, p99])


async def start(stack: AsyncExitStack, plan: Plan, amqp_url: str) -> list[Door]:
    """Start the wanted doors, one process each."""
    reference = {"AMQP_URL": amqp_url, "BENCH_SECRET": SECRET}
    ours = free_environment(
        AMQP_URL=amqp_url, GITHUB_WEBHOOK_SECRET=SECRET, SWITCHYARD_DATA=str(plan.directory / "ingress")
    )
    doors = []
    for name, module, queue, environment, port in (
        (FASTAPI, "bench.references.ingress_fastapi", "reference.fastapi", reference, free_port()),
        (ASGI, "bench.references.ingress_asgi", "reference.asgi", reference, free_port()),
        (OURS, "services.ingress", "webhook.commands", ours.for_children(), ours.ingress_port),
    ):
        if not plan.wants(name):
            continue
        listening = [] if name == OURS else ["--port", str(port)]
        program = await Program.start(
            queue, *python(module), *listening, directory=plan.directory, env=environment, port=port
        )
        stack.push_async_callback(program.stop)
        doors.append(Door(name, port, queue, program.process.pid))
    return doors


async def _offer(door: Door, plan: Plan, amqp_url: str, seconds: float) -> Answered:
    """One run; then the queue must hold every accepted webhook, and is emptied."""
    answered = await wrk("webhook.lua", door.port, seconds, plan.directory, wrk_environment(plan.directory))
    accepted = answered.requests - answered.failed
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        deadline, held = time.monotonic() + 10, -1
        while held < accepted and time.monotonic() < deadline:
            queue = await channel.declare_queue(door.queue, passive=True)
            held = queue.declaration_result.message_count or 0
        await queue.purge()
    if held < accepted:
        raise RuntimeError(f"{door.name}: {accepted} webhooks were accepted, {door.queue} holds {held}")
    return answered
