"""Fan-out: events of 300 bytes to 1,000 WebSocket clients, one frame at a time and in bursts of 16."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench import contestants
from bench.contestants import GATEWAY, HUB, Server
from bench.figures import Benchmark, Goal, Measure
from bench.load.sink import Received
from bench.plan import Plan
from bench.processes import usage

SECONDS = 1.5
BURST = 16
STEADY = 100.0  # events a second in the latency runs: 60 % of what Nchan can do
PATIENCE = 20.0

THROUGHPUT_GOALS = (Goal(HUB, 0.95, "Nchan"), Goal(GATEWAY, 0.95, "Nchan"), Goal(HUB, 0.85, "picows, bare"))
BURST_GOALS = (Goal(HUB, 8, "Nchan"), Goal(GATEWAY, 8, "Nchan"), Goal(HUB, 0.85, "picows, bare"))
LATENCY_GOALS = (Goal(HUB, 1, "Nchan"), Goal(GATEWAY, 1, "Nchan"))


async def run(plan: Plan) -> Benchmark:
    """Measure every server three times in turn, all of them started and connected beforehand."""
    one = Measure("one frame at a time", "frames/s", goals=THROUGHPUT_GOALS)
    cpu = Measure("the server's CPU for a frame, one at a time", "µs", "lower")
    joined = Measure(f"bursts of {BURST}", "frames/s", goals=BURST_GOALS)
    p50 = Measure(f"p50 at {STEADY:g} events/s", "ms", "lower")
    p99 = Measure(f"p99 at {STEADY:g} events/s", "ms", "lower", goals=LATENCY_GOALS)
    burst_p99 = Measure(f"p99 at {STEADY:g} events/s in bursts of {BURST}", "ms", "lower", goals=LATENCY_GOALS)
    seconds = plan.seconds or SECONDS
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        servers = await contestants.start(stack, plan, notes)
        for number in range(plan.runs):
            plan.noise.sample()
            for server in servers:
                plan.say(f"fan-out {number + 1}/{plan.runs}: {server.name}")
                used = usage(server.pid)[0]
                received = await measure(server, 1, 0, seconds, stride=7)
                cpu.add(server.name, (usage(server.pid)[0] - used) / received.events * 1e6)
                one.add(server.name, received.per_second, f"receiver {received.cpu_share:.0%} of a core")
                received = await measure(server, 1, STEADY, seconds)
                p50.add(server.name, received.p50_ms)
                p99.add(server.name, received.p99_ms, f"max {received.max_ms:.1f} ms")
                if server.bursts:
                    received = await measure(server, BURST, 0, seconds, stride=61)
                    joined.add(server.name, received.per_second, f"receiver {received.cpu_share:.0%} of a core")
                    received = await measure(server, BURST, STEADY, seconds)
                    burst_p99.add(server.name, received.p99_ms, f"max {received.max_ms:.1f} ms")
    title = f"Fan-out, {contestants.CLIENTS} clients, 300-byte events"
    return Benchmark("fanout", title, [one, cpu, joined, p50, p99, burst_p99], notes)


async def measure(server: Server, burst: int, rate: float, seconds: float, stride: int = 1) -> Received:
    """One run: publish for `seconds`, then wait for the last frame; raises RuntimeError when frames are missing."""
    await server.sink.start(stride)
    events = await server.publish(burst, rate, seconds)
    if not await server.sink.reached(events * server.sink.clients, PATIENCE):
        received = await server.sink.report()
        missing = events * server.sink.clients - received.events
        raise RuntimeError(f"{server.name}: {missing} of {events * server.sink.clients} frames missing: {received}")
    return await server.sink.report()
