"""The gateway as it runs, with crowds: who never reads, who comes back all at once, and who is there over replicas."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench import systems
from bench.figures import OURS, Goal, Measure
from bench.load.deaf import Deaf
from bench.load.events import event
from bench.load.returning import Came, Comer, come
from bench.load.sink import Received, Sink
from bench.load.tokens import subscription, token_headers
from bench.ours.gateway import TO_EVENT_LOG, ThroughBroker
from bench.plan import Plan
from bench.processes import Program, python, usage
from bench.references.minimal_amqp import Publisher, publish_frame
from cli.local.ports import free_port
from cli.local.stack import Stack
from shared.bus.topology import EVENTS

READERS, NON_READERS = 900, 100
RATE = 100.0  # events a second
SECONDS = 2.0
FILLING, FILLING_SIZE = 600, 3_000  # events that fill the sockets and queues of those who do not read

RETURNING, MISSED = 1_000, 100

AGENTS, REPLICAS = 5_000, 3

PATIENCE = 60.0

ALL_READ = f"{OURS}, all read"
SOME_DEAF = f"{OURS}, {NON_READERS} never read"
BY_CURSOR, BY_TOKEN = f"{OURS}, by cursor", f"{OURS}, by resume token"


async def measure(plan: Plan) -> list[Measure]:
    """One gateway with its broker, database and session worker; for the last measure three."""
    measures: list[Measure] = []
    async with AsyncExitStack() as stack:
        plan.say("live: starting the gateway")
        servers = systems.start_servers(plan, stack)
        running = systems.start_services(plan, stack, servers, ["ws_gateway", "session_worker"])
        publisher = await Publisher.open(running.amqp_url)
        stack.callback(publisher.close)
        for name, part in PARTS.items():
            if plan.wants(name):
                measures += await part(plan, running, publisher)
    return measures


def figure(port: int, name: str, **labels: str) -> float:
    """One of a gateway's metrics; NaN when it can't be asked or has none."""
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
    ):
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                if sample.name == f"switchyard_gateway_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
    return float("nan")


async def until(condition: Callable[[], bool], what: str, interval: float = 0.1) -> float:
    """Wait until something is so; when that was seen, on the monotonic clock. RuntimeError when it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {PATIENCE:g} s in vain: {what}")
        await asyncio.sleep(interval)
    return time.monotonic()


async def beside_the_deaf(plan: Plan, running: Stack, publisher: Publisher) -> list[Measure]:
    """What readers notice of those beside them who never read, what these cost, and whether they are told."""
    p99 = Measure(f"p99 of {READERS} readers", "ms", "lower", goals=(Goal(SOME_DEAF, 2, ALL_READ),))
    grown = Measure(f"memory for {NON_READERS} who never read", "MB", "lower", goals=(Goal(OURS, value=50),))
    untold = Measure("dropped events nobody was told of", "", "lower", goals=(Goal(OURS, value=0),))
    port, secret = running.environment.gateway_port, running.environment.get("SWITCHYARD_SECRET")
    through, pid = ThroughBroker(publisher), running.process("ws_gateway").pid or 0
    headers = token_headers(secret, READERS + NON_READERS + 1)
    sink = await Sink.connect(
        port, "/ws", READERS, plan.directory, headers[:READERS], subscription("memory.#"), name="readers"
    )

    async def measured() -> Received:
        await sink.start()
        count = await through.publish(1, RATE, plan.seconds or SECONDS)
        if not await sink.reached(count * READERS, PATIENCE):
            raise RuntimeError(f"readers miss frames: {await sink.report()}")
        return await sink.report()

    try:
        for number in range(plan.runs):
            plan.noise.sample()
            plan.say(f"live {number + 1}/{plan.runs}: {NON_READERS} who never read")
            received = await measured()
            p99.add(ALL_READ, received.p99_ms, f"p50 {received.p50_ms:.1f} ms")
            start, before = int(figure(port, "cursor")), usage(pid)[1]
            asked: dict[str, Any] = {"type": "subscribe", "topics": ["memory.#", "fill.#"]}
            deaf = await asyncio.to_thread(Deaf, port, headers[READERS:-1], json.dumps(asked))
            try:
                filling = publish_frame(EVENTS, "fill.x")
                await asyncio.gather(*[publisher.publish(filling, event(0, FILLING_SIZE)) for _ in range(FILLING)])
                await until(lambda: figure(port, "slow") == NON_READERS, "the sockets of those who never read are full")
                received = await measured()
                p99.add(SOME_DEAF, received.p99_ms, f"p50 {received.p50_ms:.1f} ms")
                grown.add(OURS, (usage(pid)[1] - before) / 1e6)
                end = event(0).replace(b'"memory_update"', b'"end"')
                await publisher.publish(publish_frame(EVENTS, "fill.end"), end)
                told = await asyncio.to_thread(deaf.read, "end")
                witness = await asyncio.to_thread(Deaf, port, headers[-1:], json.dumps({**asked, "since": start}))
                (all_of_it,) = await asyncio.to_thread(witness.read, "end")
                witness.close()
            finally:
                deaf.close()
            missed = sum(len(all_of_it.events - each.events) for each in told)
            note = f"of {missed:,} dropped"
            untold.add(OURS, sum(len(each.untold(all_of_it.events)) for each in told), note)
            await until(lambda: figure(port, "slow") == 0, "those who never read are gone")
    finally:
        await sink.stop()
    return [p99, grown, untold]


async def all_come_back(plan: Plan, running: Stack, publisher: Publisher) -> list[Measure]:
    """All clients of a restarted gateway come back at once, by cursor or by resume token, to what they missed."""
    goals = (Goal(BY_CURSOR, value=10), Goal(BY_TOKEN, value=10))
    took = Measure(f"{RETURNING} come back at once and have all {MISSED} they missed", "s", "lower", goals=goals)
    port, secret = running.environment.gateway_port, running.environment.get("SWITCHYARD_SECRET")
    headers = token_headers(secret, RETURNING)
    asked = {"type": "subscribe", "topics": ["memory.#"]}
    for number in range(plan.runs):
        plan.noise.sample()
        for how in (BY_CURSOR, BY_TOKEN):
            plan.say(f"live {number + 1}/{plan.runs}: {RETURNING} who come back")
            before = await come(port, [Comer(line, asked) for line in headers], 0)
            await restarted(running, before)
            await asyncio.gather(*[publisher.publish(TO_EVENT_LOG, event(0)) for _ in range(MISSED)])
            comers = [Comer(line, _again(how, answer)) for line, answer in zip(headers, before.answers, strict=True)]
            after = await come(port, comers, MISSED)
            took.add(how, after.seconds)
            after.leave()
            if not all(answer["recovered"] and answer["topics"] == ["memory.#"] for answer in after.answers):
                raise RuntimeError("a client did not recover what it had")
            await until(lambda: figure(port, "connections", permission="observer") == 0, "the clients are gone")
    return [took]


def _again(how: str, answer: dict[str, Any]) -> dict[str, Any]:
    if how == BY_CURSOR:
        return {"type": "subscribe", "topics": answer["topics"], "since": answer["cursor"]}
    return {"type": "resume", "resume_token": answer["resume_token"], "since": answer["cursor"]}


async def restarted(running: Stack, clients: Came) -> None:
    """Kill the gateway and start it again."""
    gateway = running.process("ws_gateway")
    gateway.kill(restart=False)
    clients.leave()
    gateway.start()
    await asyncio.to_thread(running.wait_ready, ["ws_gateway"], PATIENCE)


async def presence(plan: Plan, running: Stack, _: Publisher) -> list[Measure]:
    """Agents over three gateways, one of which is killed: when the others know who is still there."""
    name = f"presence of {AGENTS} agents right after the death of one of {REPLICAS} replicas"
    took = Measure(name, "s", "lower", goals=(Goal(OURS, value=2),))
    secret = running.environment.get("SWITCHYARD_SECRET")
    headers = token_headers(secret, AGENTS)
    staying = [running.environment.gateway_port, free_port()]
    shares = [headers[at::REPLICAS] for at in range(REPLICAS)]
    async with AsyncExitStack() as stack:
        await another(plan, running, stack, staying[1])
        for port, share in zip(staying, shares[1:], strict=True):
            sink = await Sink.connect(port, "/ws", len(share), plan.directory, share, name=f"agents-at-{port}")
            stack.push_async_callback(sink.stop)
        for number in range(plan.runs):
            plan.noise.sample()
            plan.say(f"live {number + 1}/{plan.runs}: presence")
            took.add(OURS, await death_of_one(plan, running, staying, shares[0]))
    return [took]


async def death_of_one(plan: Plan, running: Stack, staying: list[int], share: list[str]) -> float:
    """Kill a gateway that has its share of the agents; seconds until the others have it right."""
    port = free_port()
    async with AsyncExitStack() as stack:
        dies = await another(plan, running, stack, port)
        sink = await Sink.connect(port, "/ws", len(share), plan.directory, share, name=f"agents-at-{port}")
        stack.push_async_callback(sink.stop)
        await until(lambda: all(_sees(each, REPLICAS, AGENTS) for each in (*staying, port)), "all are there")
        killed, left = time.monotonic(), AGENTS - len(share)
        dies.process.kill()
        known = await until(lambda: all(_sees(each, REPLICAS - 1, left) for each in staying), "the others see it", 0.02)
        return known - killed


async def another(plan: Plan, running: Stack, stack: AsyncExitStack, port: int) -> Program:
    """One more gateway of the stack, ready."""
    environment = running.environment.for_children() | {"SWITCHYARD_GATEWAY_PORT": str(port)}
    program = await Program.start(
        f"ws_gateway-{port}", *python("services.ws_gateway"), directory=plan.directory, env=environment, port=port
    )
    stack.push_async_callback(program.stop)
    await until(lambda: figure(port, "replicas") > 0 and _is_ready(port), "another gateway is ready")
    return program


def _is_ready(port: int) -> bool:
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer,
    ):
        return bool(answer.status == 200)
    return False


def _sees(port: int, replicas: int, online: int) -> bool:
    return (figure(port, "replicas"), figure(port, "agents", status="online")) == (replicas, online)


PARTS: dict[str, Callable[[Plan, Stack, Publisher], Awaitable[list[Measure]]]] = {
    "never read": beside_the_deaf,
    "come back": all_come_back,
    "presence": presence,
}
