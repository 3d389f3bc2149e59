"""The task queue beside others: no-op tasks from enqueueing to completion, how soon one begins, what a claim costs."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import psycopg

from bench import peers, systems, waiting
from bench.figures import OURS, Benchmark, Goal, Measure, percentile
from bench.ours.tasks import AGENT, connected
from bench.plan import Plan
from bench.processes import Program, python, usage
from bench.systems import Servers
from cli.local.stack import Stack
from shared import logs

SECONDS = 2.0
PACE = 2_500  # about how many of ours make a second's work
WARM_UP = 500  # what our driver does before it begins to count
RATE = 100.0
STEADY_TASKS = 200
CLAIMS = 20
FEW = 100


async def run(plan: Plan) -> Benchmark:
    """Each queue in turn, as often as asked; then claims from a short and from a very long queue of ours."""
    rate = Measure(
        "no-op tasks, enqueued to completed", "tasks/s", goals=(Goal(OURS, value=2500), Goal(OURS, 4, "Procrastinate"))
    )
    p50 = Measure(f"enqueue to start, p50 at {RATE:g}/s", "ms", "lower", goals=(Goal(OURS, value=3),))
    p99 = Measure(f"enqueue to start, p99 at {RATE:g}/s", "ms", "lower", goals=(Goal(OURS, value=10),))
    claims = _claims(plan)
    notes = [
        "one worker process each (of ours the task worker; the session worker records the events beside it); every"
        " task is counted in its worker, and then in PostgreSQL or as acknowledged by an empty queue",
        "tasks are sent by eight threads or a hundred coroutines at once; ours, before 500 of them are confirmed",
        "Dramatiq, Celery and taskiq keep neither history nor leases; Procrastinate and ours keep tasks in PostgreSQL",
    ]
    logs.configure("bench", level=plan.log_level)
    async with AsyncExitStack() as stack:
        plan.say("tasks: starting a broker and a database")
        servers = systems.start_servers(plan, stack)
        others = [peer for peer in peers.PEERS if any(plan.wants(each.name) for each in peer.sendings)]
        programs = await asyncio.to_thread(peers.environment) if others else None
        if others and programs is None:
            others = []
            notes.append(
                "left out: every other queue, as their environment could not be made (is there uv, a network?)"
            )
        ours = systems.start_services(plan, stack, servers, ["session_worker", "task_worker"])
        running = []
        for peer in others:
            plan.say(f"tasks: starting {peer.module}")
            assert programs is not None
            running.append(await peers.Running.start(peer, programs, servers, plan.directory))
            stack.push_async_callback(running[-1].stop)
        for number in range(plan.runs):
            plan.noise.sample()
            if plan.wants(OURS):
                plan.say(f"tasks {number + 1}/{plan.runs}: {OURS}")
                await _ours(plan, servers, rate, p50, p99)
                await _rest(servers, ours)
            for peer in running:
                await _peer(plan, number, peer, rate, p50, p99)
        for peer in running:
            await peer.check()
        if plan.wants(OURS):
            await _claim_costs(plan, servers, claims, notes)
    measures = [measure for measure in (rate, p50, p99, claims) if measure.figures]
    return Benchmark("tasks", "Tasks: enqueued, claimed, completed and confirmed, no-op work", measures, notes)


async def _ours(plan: Plan, servers: Servers, rate: Measure, p50: Measure, p99: Measure) -> None:
    count = int(PACE * (plan.seconds or SECONDS))
    before = _completed(servers.database.url)
    found = await _drive(plan, servers, "flood", count)
    sent = count + min(count, WARM_UP)
    if (done := _completed(servers.database.url) - before) != sent:
        raise RuntimeError(f"{OURS}: {sent} tasks were delegated, {done} are completed in PostgreSQL")
    rate.add(OURS, found["per_second"], "through the bus, with leases, events and history")
    found = await _drive(plan, servers, "steady", STEADY_TASKS, RATE)
    p50.add(OURS, found["p50_ms"])
    p99.add(OURS, found["p99_ms"], f"max {found['max_ms']:.1f} ms")


async def _drive(plan: Plan, servers: Servers, *words: object) -> dict[str, float]:
    """One measurement of ours, by its own process."""
    program = await Program.start(
        "ours-tasks",
        *python("bench.ours.tasks"),
        *map(str, words),
        directory=plan.directory,
        env={"AMQP_URL": servers.broker.url},
        answers=True,
    )
    try:
        return await program.answer(120)
    finally:
        await program.stop()


def _completed(url: str) -> int:
    query = "select count(*) from tasks where agent_name = %s and status = 'completed'"
    with psycopg.connect(url) as connection:
        row = connection.execute(query, [AGENT]).fetchone()
    assert row is not None
    return int(row[0])


async def _rest(servers: Servers, ours: Stack, patience: float = 12.0) -> None:
    """Wait until ours has copied its events, so that the next one has the machine to itself."""
    pids = [*servers.pids.values(), *(child.pid for child in ours.processes.values() if child.pid)]
    deadline, before = time.monotonic() + patience, float("-inf")
    while time.monotonic() < deadline:
        used = sum(usage(pid)[0] for pid in pids)
        if used - before < 0.05:
            return
        before = used
        await asyncio.sleep(0.5)


async def _peer(plan: Plan, number: int, running: peers.Running, rate: Measure, p50: Measure, p99: Measure) -> None:
    for sending in running.peer.sendings:
        if not plan.wants(sending.name):
            continue
        plan.say(f"tasks {number + 1}/{plan.runs}: {sending.name}")
        # The producers share them among eight threads.
        count = max(8, int(sending.pace * (plan.seconds or SECONDS)) // 8 * 8)
        took, _ = await running.tasks(sending, count)
        rate.add(sending.name, count / took)
        if sending.confirmed:
            _, waits = await running.tasks(sending, STEADY_TASKS, RATE)
            p50.add(sending.name, percentile(waits, 0.5) * 1e3)
            p99.add(sending.name, percentile(waits, 0.99) * 1e3, f"max {max(waits) * 1e3:.1f} ms")


def _short(beside: int = 0) -> str:
    return f"{OURS}, {FEW} waiting" + (f" beside {beside:,} others" if beside else "")


def _long(plan: Plan) -> str:
    return f"{OURS}, {plan.rows:,} waiting"


def _claims(plan: Plan) -> Measure:
    goals = (Goal(_long(plan), 1.2, _short()), Goal(_long(plan), 1.2, _short(plan.rows)))
    return Measure("claim of 50 tasks, p50", "ms", "lower", goals=goals)


async def _claim_costs(plan: Plan, servers: Servers, claims: Measure, notes: list[str]) -> None:
    """Claims with a hundred tasks waiting, before and after a million more wait for another agent; then from those."""
    async with connected(servers.broker.url) as client:
        few = await waiting.Queue.of(client, "few")
        many = await waiting.Queue.of(client, "many")
        await few.fill(FEW)
        await many.fill(1)
        for number in range(plan.runs):
            plan.say(f"tasks {number + 1}/{plan.runs}: claims with {FEW} waiting")
            claims.add(_short(), percentile(await few.claims(CLAIMS, refill=True), 0.5))
        plan.say(f"tasks: {plan.rows:,} tasks into a queue")
        seconds = await asyncio.to_thread(waiting.load, servers.database.url, many.agent, plan.rows)
        notes.append(f"{plan.rows:,} waiting tasks loaded and indexed in {seconds:.0f} s")
        for number in range(plan.runs):
            plan.noise.sample()
            plan.say(f"tasks {number + 1}/{plan.runs}: claims with {plan.rows:,} waiting")
            short, long = [], []
            for _ in range(CLAIMS):
                # In turn, so that both see the same machine.
                short += await few.claims(1, refill=True)
                long += await many.claims(1)
            claims.add(_short(plan.rows), percentile(short, 0.5))
            claims.add(_long(plan), percentile(long, 0.5))
