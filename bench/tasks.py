"""The task queue beside others: no-op tasks from enqueueing to completion, how soon one begins, what a claim costs."""

from __future__ import annotations

import asyncio
import resource
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
    logs.configure("bench", level=plan.log_level)
    notes = [
        "one worker process each (of ours the task worker; the session worker records the events beside it); every"
        " task is counted in its worker, and then in PostgreSQL or as acknowledged by an empty queue",
        "tasks are sent by eight threads or a hundred coroutines at once; ours, before 500 of them are confirmed",
        "Dramatiq, Celery and taskiq keep neither history nor leases; Procrastinate and ours keep tasks in PostgreSQL",
        "CPU of a producer counts with its start, which is about a third of a second",
    ]
    async with AsyncExitStack() as stack:
        plan.say("tasks: starting a broker and a database")
        servers = systems.start_servers(plan, stack)
        ours = systems.start_services(plan, stack, servers, ["session_worker", "task_worker"])
        found = Figures(plan, servers, ours)
        running = await _peers(plan, stack, servers, notes)
        for number in range(plan.runs):
            plan.noise.sample()
            if plan.wants(OURS):
                plan.say(f"tasks {number + 1}/{plan.runs}: {OURS}")
                await found.ours()
            for peer in running:
                plan.say(f"tasks {number + 1}/{plan.runs}: {peer.peer.module}")
                await found.peer(peer)
        for peer in running:
            await peer.check()
        notes += found.costs_in_words()
        if plan.wants(OURS):
            await _claim_costs(plan, servers, found.claims, notes)
    return Benchmark("tasks", "Tasks: enqueued, claimed, completed and confirmed, no-op work", found.measures(), notes)


async def _peers(plan: Plan, stack: AsyncExitStack, servers: Servers, notes: list[str]) -> list[peers.Running]:
    """The workers of the peers that are wanted; none where their programs can't be had."""
    wanted = [peer for peer in peers.PEERS if any(plan.wants(each.name) for each in peer.sendings)]
    if not wanted:
        return []
    programs = await asyncio.to_thread(peers.environment)
    if programs is None:
        notes.append("left out: every other queue, as their environment could not be made (is there uv, a network?)")
        return []
    running = []
    for peer in wanted:
        plan.say(f"tasks: starting {peer.module}")
        running.append(await peers.Running.start(peer, programs, servers, plan.directory))
        stack.push_async_callback(running[-1].stop)
    return running


class Figures:
    """What is measured, what is asked of it, and what a task costs in each process."""

    def __init__(self, plan: Plan, servers: Servers, ours: Stack) -> None:
        self._plan = plan
        self._servers = servers
        self._services = {name: child.pid for name, child in ours.processes.items() if child.pid}
        self._costs: dict[str, dict[str, list[float]]] = {}
        goals = (Goal(OURS, value=2500), Goal(OURS, 4, "Procrastinate"))
        self._rate = Measure("no-op tasks, enqueued to completed", "tasks/s", goals=goals)
        self._p50 = Measure(f"enqueue to start, p50 at {RATE:g}/s", "ms", "lower", goals=(Goal(OURS, value=3),))
        self._p99 = Measure(f"enqueue to start, p99 at {RATE:g}/s", "ms", "lower", goals=(Goal(OURS, value=10),))
        goals = (Goal(_long(plan), 1.2, _short()), Goal(_long(plan), 1.2, _short(plan.rows)))
        self.claims = Measure(f"claim of {waiting.AT_ONCE} tasks, p50", "ms", "lower", goals=goals)

    def measures(self) -> list[Measure]:
        """Those that have a figure."""
        return [each for each in (self._rate, self._p50, self._p99, self.claims) if each.figures]

    def costs_in_words(self) -> list[str]:
        """What a task costs where, in a line for each queue."""
        return [systems.costs_in_words(name, "task", costs) for name, costs in self._costs.items()]

    async def ours(self) -> None:
        """One run of ours. Raises RuntimeError when a task is not completed in PostgreSQL."""
        count = int(PACE * (self._plan.seconds or SECONDS))
        sent = count + min(count, WARM_UP)
        before, used = _completed(self._servers.database.url), self._cpu(self._services)
        told = await self._drive("flood", count)
        if (done := _completed(self._servers.database.url) - before) != sent:
            raise RuntimeError(f"{OURS}: {sent} tasks were delegated, {done} are completed in PostgreSQL")
        self._rate.add(OURS, told["per_second"], "through the bus, with leases, events and history")
        await self._rest()
        self._note(OURS, used, self._cpu(self._services), sent)
        told = await self._drive("steady", STEADY_TASKS, RATE)
        self._p50.add(OURS, told["p50_ms"])
        self._p99.add(OURS, told["p99_ms"], f"max {told['max_ms']:.1f} ms")
        await self._rest()

    async def peer(self, running: peers.Running) -> None:
        """One run of a peer, with each way of sending."""
        assert running.worker is not None
        worker = {"worker": running.worker.process.pid}
        for sending in running.peer.sendings:
            if not self._plan.wants(sending.name):
                continue
            # The producers share them among eight threads.
            count = max(8, int(sending.pace * (self._plan.seconds or SECONDS)) // 8 * 8)
            used = self._cpu(worker)
            took, _ = await running.tasks(sending, count)
            self._note(sending.name, used, self._cpu(worker), count)
            self._rate.add(sending.name, count / took)
            if sending.confirmed:
                _, waits = await running.tasks(sending, STEADY_TASKS, RATE)
                self._p50.add(sending.name, percentile(waits, 0.5) * 1e3)
                self._p99.add(sending.name, percentile(waits, 0.99) * 1e3, f"max {max(waits) * 1e3:.1f} ms")

    async def _drive(self, *words: object) -> dict[str, float]:
        """One measurement of ours, by its own process."""
        program = await Program.start(
            "ours-tasks",
            *python("bench.ours.tasks"),
            *map(str, words),
            directory=self._plan.directory,
            env={"AMQP_URL": self._servers.broker.url},
            answers=True,
        )
        try:
            return await program.answer(120)
        finally:
            await program.stop()

    async def _rest(self, patience: float = 12.0) -> None:
        """Wait until ours has copied its events, so that the next one has the machine to itself."""
        deadline, before = time.monotonic() + patience, float("-inf")
        while time.monotonic() < deadline:
            used = sum(self._cpu(self._services).values())
            if used - before < 0.05:
                return
            before = used
            await asyncio.sleep(0.5)

    def _cpu(self, processes: dict[str, int]) -> dict[str, float]:
        """CPU seconds so far of these processes, of the servers, and of every producer that has ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        living = {name: usage(pid)[0] for name, pid in {**processes, **self._servers.pids}.items()}
        return {**living, "producer": ended.ru_utime + ended.ru_stime}

    def _note(self, name: str, before: dict[str, float], after: dict[str, float], count: int) -> None:
        for process, seconds in after.items():
            self._costs.setdefault(name, {}).setdefault(process, []).append((seconds - before[process]) / count * 1e6)


def _completed(url: str) -> int:
    query = "select count(*) from tasks where agent_name = %s and status = 'completed'"
    with psycopg.connect(url) as connection:
        row = connection.execute(query, [AGENT]).fetchone()
    assert row is not None
    return int(row[0])


def _short(beside: int = 0) -> str:
    return f"{OURS}, {FEW} waiting" + (f" beside {beside:,} others" if beside else "")


def _long(plan: Plan) -> str:
    return f"{OURS}, {plan.rows:,} waiting"


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
