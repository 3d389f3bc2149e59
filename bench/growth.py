"""Growth: the whole path with a million memories in the tables beside none, and the services' memory under load."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from contextlib import AsyncExitStack

from bench import path, preload, systems
from bench.figures import OURS, Benchmark, Goal, Measure
from bench.load import memories
from bench.load.http_publish import Pipeline
from bench.load.offer import offer
from bench.plan import Plan
from bench.systems import System

STEADY_LOAD = 500.0  # memories a second while the services' memory is watched
EMPTY = f"{OURS}, empty tables"
SLACK = 0.2  # how much worse the figures may be with the rows loaded


async def run(plan: Plan) -> Benchmark:
    """The path's figures on empty tables, then with the rows loaded, then memory over the minutes asked for."""
    full = f"{OURS}, {plan.rows:,} memories"
    rate, p50, p99 = path.measures()
    rate.goals = (Goal(full, 1 - SLACK, EMPTY),)
    p50.goals = p99.goals = (Goal(full, 1 + SLACK, EMPTY),)
    resident = Measure(f"memory after {plan.minutes:g} min at {STEADY_LOAD:g}/s", "MB", "lower")
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        plan.say("growth: starting everything")
        servers = systems.start_servers(plan, stack)
        system = await systems.start_ours(plan, stack, servers)
        await path.steadily(system, 20, 1)
        for label in (EMPTY, full):
            if label == full:
                plan.say(f"growth: loading {plan.rows:,} memories")
                seconds = preload.load_memories(servers.database.url, plan.rows)
                notes.append(f"{plan.rows:,} memories loaded by COPY and indexed in {seconds:.0f} s")
            for number in range(plan.runs):
                plan.noise.sample()
                plan.say(f"growth {number + 1}/{plan.runs}: {label}")
                await path.figures(system, plan, rate, p50, p99, notes, label)
            notes.append(system.costs_in_words(label))
            system.costs.clear()
        plan.say(f"growth: {plan.minutes:g} minutes of load")
        await watch_memory(system, plan.minutes * 60, resident)
    return Benchmark(
        "growth",
        f"Growth: the whole path on empty tables and with {plan.rows:,} memories",
        [rate, p50, p99, resident],
        notes,
    )


async def watch_memory(system: System, seconds: float, resident: Measure) -> None:
    """Offer a steady load and record what each service holds at its end, with how much came in the second half."""
    samples: list[dict[str, int]] = []

    async def sample() -> None:
        while True:
            samples.append(system.memory())
            await asyncio.sleep(min(1.0, seconds / 10))

    headers = {"Content-Type": "application/json", **system.headers}
    doors = [await Pipeline.open(system.door, "/api/commands/store_memory", headers) for _ in range(8)]
    turns, sampler = itertools.cycle(doors), asyncio.create_task(sample())
    try:
        make = memories.numbered(secrets.token_hex(4))
        await offer(lambda bodies: next(turns).publish(bodies), 1, STEADY_LOAD, seconds, make=make)
    finally:
        sampler.cancel()
        for door in doors:
            door.close()
    first, middle, last = samples[0], samples[len(samples) // 2], samples[-1]
    for name in last:
        late = (last[name] - middle[name]) / 1e6
        resident.add(
            name, last[name] / 1e6, f"{first[name] / 1e6:.0f} MB at the start, {late:+.1f} MB in the second half"
        )
