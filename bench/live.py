"""The live layer: 5,000 connections that want what concerns them, subscriptions that change, and resumes."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack

from bench import crowds
from bench.figures import Benchmark, Goal, Measure
from bench.load.sink import Sink
from bench.load.tokens import token_headers
from bench.plan import Plan
from bench.processes import Program, python, usage
from cli.local.ports import free_port

CLIENTS = 5_000
RATE = 200.0  # events a second
SECONDS = 5.0
CHANGES = 10_000  # subscriptions changed in a second
RESUMED = 1_000
# Each event concerns the agents of one of 1,000 sessions.
CONCERNED = CLIENTS // 1_000
PATIENCE = 30.0
COUNTED = 5_000

OURS = "switchyard"
EACH = "each connection asked"


async def run(plan: Plan) -> Benchmark:
    """Measure one gateway with its events from inside, then gateways as they run (`crowds.py`).

    Parts by themselves: `--only relevant`, `--only "never read"`, `--only "come back"`, `--only presence`.
    """
    measures = await of_one_hub(plan) if plan.wants("relevant") else []
    if any(plan.wants(part) for part in crowds.PARTS):
        measures += await crowds.measure(plan)
    title = f"The live layer, {CLIENTS} connections in the mode `relevant`, 200 topics; crowds at gateways as they run"
    return Benchmark("live", title, measures, [])


async def of_one_hub(plan: Plan) -> list[Measure]:
    """Measure one gateway, all of its clients connected beforehand."""
    latency = Measure(f"p99 at {RATE:g} events/s", "ms", "lower", goals=(Goal(OURS, value=50),))
    median = Measure(f"p50 at {RATE:g} events/s", "ms", "lower")
    judged = Measure(f"finding whom of {CLIENTS} an event concerns", "µs", "lower", goals=(Goal(OURS, 0.05, EACH),))
    unheard = Measure("an event under a topic nobody asked for", "µs", "lower", goals=(Goal(OURS, value=20),))
    unwanted = Measure("an event that concerns nobody who asked", "µs", "lower", goals=(Goal(OURS, value=20),))
    memory = Measure("memory for each idle connection", "kB", "lower", goals=(Goal(OURS, value=40),))
    stall = Measure(f"longest stall at {CHANGES} subscription changes/s", "ms", "lower", goals=(Goal(OURS, value=50),))
    changes = Measure("subscription changes", "/s", goals=(Goal(OURS, value=CHANGES * 0.98),))
    resume = Measure(f"resume of {RESUMED} events", "ms", "lower", goals=(Goal(OURS, value=100),))
    seconds = plan.seconds or SECONDS
    port, secret = free_port(), secrets.token_urlsafe(32)
    async with AsyncExitStack() as stack:
        plan.say(f"live: connecting {CLIENTS} clients")
        program = await Program.start(
            "live_hub", *python("bench.ours.live_hub"), "--port", str(port), directory=plan.directory,
            env={"SWITCHYARD_SECRET": secret}, port=port, answers=True,
        )  # fmt: skip
        stack.push_async_callback(program.stop)
        empty = usage(program.process.pid)[1]
        sink = await Sink.connect(
            port, "/ws", CLIENTS, plan.directory, token_headers(secret, CLIENTS), name="live_sink"
        )
        stack.push_async_callback(sink.stop)
        await program.ask("subscribe", PATIENCE)
        memory.add(OURS, (usage(program.process.pid)[1] - empty) / CLIENTS / 1000)
        for number in range(plan.runs):
            plan.noise.sample()
            plan.say(f"live {number + 1}/{plan.runs}")
            await sink.start()
            offered = await program.ask(f"run 1 {RATE} {seconds}", seconds + PATIENCE)
            if not await sink.reached(offered["events"] * CONCERNED, PATIENCE):
                raise RuntimeError(f"frames are missing: {await sink.report()}")
            received = await sink.report()
            median.add(OURS, received.p50_ms)
            latency.add(OURS, received.p99_ms, f"max {received.max_ms:.1f} ms")
            cost = await program.ask(f"nobody {COUNTED}", PATIENCE)
            unheard.add(OURS, cost["unheard_us"])
            unwanted.add(OURS, cost["unconcerned_us"])
            cost = await program.ask(f"asked_each {COUNTED}", PATIENCE)
            judged.add(OURS, cost["ours_us"], "CPU, intake and writes included")
            judged.add(EACH, cost["each_us"])
            changed = await program.ask(f"changes {CHANGES} {seconds}", seconds + PATIENCE)
            stall.add(OURS, changed["longest_ms"], f"CPU at most {changed['longest_cpu_ms']:.1f} ms")
            changes.add(OURS, changed["a_second"])
            resumed = await program.ask(f"resume {RESUMED}", PATIENCE)
            resume.add(OURS, resumed["ms"])
    return [median, latency, judged, unheard, unwanted, memory, stall, changes, resume]
