"""The whole path: store_memory over HTTP, through the broker, committed in PostgreSQL, its event on a WebSocket."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from contextlib import AsyncExitStack

from bench import systems
from bench.figures import OURS, Benchmark, Goal, Measure
from bench.load import memories
from bench.load.http_publish import Pipeline
from bench.load.offer import offer
from bench.load.sink import Received
from bench.load.wrk import wrk
from bench.plan import Plan
from bench.systems import System

SECONDS = 4.0
REFERENCE_SECONDS = 1.0  # it takes in several times what it can commit; its backlog is part of the run
STEADY = 100.0
ACCEPTED, REPLIED = "respond-async", "wait=10"  # Prefer: answer once it is kept, or with the stored memory
WAITING = f"{OURS}, waiting for replies"
PATIENCE = 60.0


async def run(plan: Plan) -> Benchmark:
    """Each system in turn, three times: full speed until the last accepted memory is committed, then 100 a second."""
    rate, p50, p99 = measures()
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        plan.say("path: starting a broker and a database")
        servers = systems.start_servers(plan, stack)
        contestants = []
        if plan.wants(systems.REFERENCE):
            contestants.append(await systems.start_reference(plan, stack, servers))
        if plan.wants(OURS):
            contestants.append(await systems.start_ours(plan, stack, servers))
        for system in contestants:
            await steadily(system, 20, 1)
        for number in range(plan.runs):
            plan.noise.sample()
            for system in contestants:
                plan.say(f"path {number + 1}/{plan.runs}: {system.name}")
                await figures(system, plan, rate, p50, p99, notes)
                if system.name == OURS:
                    rate.add(WAITING, *await flat_out(system, plan, plan.seconds or SECONDS, notes, REPLIED))
        notes.extend(system.costs_in_words() for system in contestants)
    title = "Whole path: store_memory over HTTP → bus → committed row → event on a socket"
    return Benchmark("path", title, [rate, p50, p99], notes)


def measures() -> tuple[Measure, Measure, Measure]:
    """Throughput, and both percentiles at a steady rate."""
    return (
        Measure("committed memories", "rows/s", goals=(Goal(OURS, value=2500), Goal(OURS, 1, systems.REFERENCE))),
        Measure(f"request to socket, p50 at {STEADY:g}/s", "ms", "lower", goals=(Goal(OURS, value=8),)),
        Measure(f"request to socket, p99 at {STEADY:g}/s", "ms", "lower", goals=(Goal(OURS, value=20),)),
    )


async def figures(
    system: System, plan: Plan, rate: Measure, p50: Measure, p99: Measure, notes: list[str], label: str = ""
) -> None:
    """One run of one system, under `label` (its name unless given)."""
    usual = REFERENCE_SECONDS if system.name == systems.REFERENCE else SECONDS
    per_second, note = await flat_out(system, plan, plan.seconds or usual, notes)
    rate.add(label or system.name, per_second, note)
    received = await steadily(system, STEADY, plan.seconds or SECONDS)
    p50.add(label or system.name, received.p50_ms)
    p99.add(label or system.name, received.p99_ms, f"max {received.max_ms:.1f} ms")


async def flat_out(
    system: System, plan: Plan, seconds: float, notes: list[str], prefer: str = ACCEPTED
) -> tuple[float, str]:
    """64 connections for `seconds`; returns memories committed a second until the last one was, and a remark.

    Raises RuntimeError when an accepted memory is not in PostgreSQL.
    """
    prefix = secrets.token_hex(4)
    key = system.headers.get("X-API-Key", "none")
    environment = memories.wrk_environment(key, prefer, memories.template(prefix))
    await system.sink.start()
    began, cpu = time.time(), system.cpu()
    answered = await wrk("commands.lua", system.door, seconds, plan.directory, environment)
    accepted, behind = answered.requests - answered.failed, 0
    if answered.failed or answered.broken:
        notes.append(f"{system.name}: {answered.failed} requests refused, {answered.broken} broken")
    behind = accepted - system.stored(prefix)[0]
    stored, last = await settled(system, prefix, accepted)
    if stored < accepted:
        raise RuntimeError(f"{system.name}: {accepted} memories were accepted, {stored} are committed")
    await system.sink.reached(stored, 10)
    received = await system.sink.report()
    for name, seconds_used in system.cpu().items() if prefer == ACCEPTED else ():
        system.costs.setdefault(name, []).append((seconds_used - cpu[name]) / stored * 1e6)
    if received.events != stored:
        notes.append(
            f"{system.name}: {stored} committed, {received.events} events on the socket, {received.gaps} gap frames"
        )
    return stored / (
        last - began
    ), f"{max(0, behind):,} waiting when the load ended; p99 answered {answered.p99_ms:.0f} ms"


async def settled(system: System, prefix: str, accepted: int) -> tuple[int, float]:
    """Wait until every accepted memory is committed and no more come (wrk leaves up to 64 unanswered)."""
    deadline, before = time.monotonic() + PATIENCE, -1
    while time.monotonic() < deadline:
        stored, last = system.stored(prefix)
        if stored >= accepted and stored == before:
            return stored, last
        before = stored
        await asyncio.sleep(0.25)
    return system.stored(prefix)


async def steadily(system: System, rate: float, seconds: float) -> Received:
    """Post at a steady rate over eight connections; what the socket received, stamped with when each was due."""
    headers = {"Content-Type": "application/json", **system.headers}
    doors = [await Pipeline.open(system.door, "/api/commands/store_memory", headers) for _ in range(8)]
    turns = itertools.cycle(doors)
    await system.sink.start()
    try:
        make = memories.numbered(secrets.token_hex(4))
        offered = await offer(lambda bodies: next(turns).publish(bodies), 1, rate, seconds, make=make)
    finally:
        for door in doors:
            door.close()
    if not await system.sink.reached(offered.events, 10):
        raise RuntimeError(f"{system.name}: {offered.events} sent, on the socket came {await system.sink.report()}")
    return await system.sink.report()
