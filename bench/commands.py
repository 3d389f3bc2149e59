"""The hot commands one by one: what is written to the last commit, what is read to the last byte of the answer."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psycopg

from bench import longlived, systems
from bench.figures import OURS, Benchmark, Goal, Measure, percentile
from bench.load import actions, memories
from bench.load.http_publish import Pipeline
from bench.load.offer import offer
from bench.load.wrk import wrk
from bench.plan import Plan
from bench.systems import REFERENCE, Servers, System, costs_in_words

SECONDS = 2.0
REFERENCE_SECONDS = 1.0  # it accepts several times what it can commit; its backlog is part of the run
BARE = "bare SQL"  # the same rows by one statement over psycopg, without HTTP, bus, access or worker
BATCHES, REFERENCE_BATCHES, AT_ONCE = 200, 20, 8
READS = 200.0  # states asked for a second
PAGE = 100
PATIENCE = 60.0


async def run(plan: Plan) -> Benchmark:
    """The reads first, while nothing is being written; then the writes, each system in turn."""
    found = Figures()
    notes = [
        f"{BARE}: the statement a reader with the database at hand would send, over psycopg, from this process",
        f"{REFERENCE}: answers before it is done; counted to the last commit, as ours is",
    ]
    async with AsyncExitStack() as stack:
        plan.say("commands: starting a broker and a database")
        servers = systems.start_servers(plan, stack)
        contestants = []
        if plan.wants(REFERENCE):
            contestants.append(await systems.start_reference(plan, stack, servers))
        if plan.wants(OURS) or plan.wants(BARE):
            ours = await systems.start_ours(plan, stack, servers)
            plan.say("commands: a session with a long life")
            longlived.load(servers.database.url)
            await reads(plan, servers, ours, found)
            if plan.wants(OURS):
                contestants.append(ours)
        for number in range(plan.runs):
            for system in contestants:
                plan.noise.sample()
                plan.say(f"commands {number + 1}/{plan.runs}: {system.name} writes")
                await writes(system, plan, found, notes)
        notes.extend(found.costs())
    return Benchmark("commands", "The hot commands, each over HTTP and the bus", found.measures(), notes)


@dataclass(frozen=True)
class Done:
    """What one run of a writing command came to."""

    commands: int
    per_second: float
    remark: str = ""


class Figures:
    """What is measured, and what is asked of it."""

    def __init__(self) -> None:
        self._costs: dict[str, dict[str, list[float]]] = {}
        flat_out = (Goal(OURS, value=2500), Goal(OURS, 1, REFERENCE))
        self.memories = Measure("store_memory, committed", "commands/s", goals=flat_out)
        self.actions = Measure("log_action, committed", "commands/s", goals=flat_out)
        self.batches = Measure(
            f"batch of {actions.IN_A_BATCH} log_action, committed",
            "commands/s",
            goals=(Goal(OURS, value=10_000), Goal(OURS, 1, REFERENCE)),
        )
        self.state_p50 = Measure(f"get_state, p50 at {READS:g}/s", "ms", "lower")
        self.state_p99 = Measure(f"get_state, p99 at {READS:g}/s", "ms", "lower", goals=(Goal(OURS, value=10),))
        page = f"get_timeline, page of {PAGE} of {longlived.ENTRIES:,}"
        self.page_p50 = Measure(f"{page}, p50", "ms", "lower", goals=(Goal(OURS, value=15),))
        self.page_p99 = Measure(f"{page}, p99", "ms", "lower")

    async def note(self, measure: Measure, system: System, work: Awaitable[Done]) -> None:
        """Do the work, and keep how fast it was and what it cost in each process."""
        cpu = system.cpu()
        done = await work
        measure.add(system.name, done.per_second, done.remark)
        costs = self._costs.setdefault(f"{system.name}, {measure.name.partition(',')[0]}", {})
        for name, seconds in system.cpu().items():
            costs.setdefault(name, []).append((seconds - cpu[name]) / done.commands * 1e6)

    def costs(self) -> list[str]:
        """What a command costs where, in a line for each system and measure."""
        return [costs_in_words(label, "command", costs) for label, costs in self._costs.items()]

    def measures(self) -> list[Measure]:
        """Those that have a figure."""
        every = [self.memories, self.actions, self.batches]
        every += [self.state_p50, self.state_p99, self.page_p50, self.page_p99]
        return [measure for measure in every if measure.figures]


async def reads(plan: Plan, servers: Servers, ours: System, found: Figures) -> None:
    """States at a steady rate, and pages of a timeline one after another."""
    seconds = plan.seconds or SECONDS
    walks: dict[str, Walk] = {}
    for number in range(plan.runs):
        plan.noise.sample()
        if plan.wants(BARE):
            plan.say(f"commands {number + 1}/{plan.runs}: {BARE} reads")
            async with longlived.Reader(servers.database.url) as reader:
                _add(found.state_p50, found.state_p99, BARE, await steadily(reader.state, seconds))
            pages = walks.setdefault(BARE, Walk(longlived.page_by_sql(servers.database.url)))
            _add(found.page_p50, found.page_p99, BARE, await asyncio.to_thread(pages.go_on, seconds))
        if plan.wants(OURS):
            plan.say(f"commands {number + 1}/{plan.runs}: {OURS} reads")
            _add(found.state_p50, found.state_p99, OURS, await _states_over_http(ours, seconds))
            pages = walks.setdefault(OURS, Walk(_page_over_http(ours)))
            _add(found.page_p50, found.page_p99, OURS, await asyncio.to_thread(pages.go_on, seconds))


def _add(p50: Measure, p99: Measure, who: str, took: list[float]) -> None:
    p50.add(who, percentile(took, 0.5))
    p99.add(who, percentile(took, 0.99), f"max {max(took):.1f} ms, {len(took):,} reads")


async def steadily(read: Callable[[], Awaitable[None]], seconds: float) -> list[float]:
    """Read at a steady rate; milliseconds from when each was due to its answer."""
    due: deque[int] = deque()
    took: list[float] = []

    def make(moment: int) -> bytes:
        due.append(moment)
        return b""

    async def one(_: list[bytes]) -> None:
        began = due.popleft()
        await read()
        took.append((time.monotonic_ns() - began) / 1e6)

    await offer(one, 1, READS, seconds, make=make)
    return took


async def _states_over_http(system: System, seconds: float) -> list[float]:
    headers = {"Content-Type": "application/json", "X-API-Key": system.headers["X-API-Key"]}
    doors = [await Pipeline.open(system.door, "/api/commands/get_state", headers) for _ in range(8)]
    turns = itertools.cycle(doors)
    body = json.dumps({"session_id": longlived.SESSION}).encode()
    try:
        await steadily(lambda: next(turns).publish([body]), 0.5)
        return await steadily(lambda: next(turns).publish([body]), seconds)
    finally:
        for door in doors:
            door.close()


class Walk:
    """Through the long session page by page, from where it stopped before; around again at its end."""

    def __init__(self, page: Callable[[str | None], tuple[float, list[int], str | None]]) -> None:
        """`page` gives the page after a cursor: the milliseconds it took, the numbers of its entries, and the next."""
        self._page = page
        self._cursor: str | None = None
        self._last = 0

    def go_on(self, seconds: float) -> list[float]:
        """Milliseconds of each page. Raises RuntimeError when an entry is missing."""
        took = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ms, numbers, self._cursor = self._page(self._cursor)
            expected = list(range(self._last + 1, self._last + 1 + PAGE))
            if numbers != expected:
                raise RuntimeError(f"a page that should hold {expected[0]}-{expected[-1]} holds {numbers}")
            self._last = numbers[-1] if self._cursor is not None else 0
            took.append(ms)
        return took


def _page_over_http(system: System) -> Callable[[str | None], tuple[float, list[int], str | None]]:
    connection = http.client.HTTPConnection("127.0.0.1", system.door)
    headers = {"Content-Type": "application/json", "X-API-Key": system.headers["X-API-Key"]}

    def page(cursor: str | None) -> tuple[float, list[int], str | None]:
        asked = {"session_id": longlived.SESSION, "limit": PAGE, **({"cursor": cursor} if cursor else {})}
        body = json.dumps(asked)
        began = time.monotonic()
        connection.request("POST", "/api/commands/get_timeline", body, headers)
        text = connection.getresponse().read()
        took = (time.monotonic() - began) * 1e3
        answer = json.loads(text)
        if "entries" not in answer:
            raise RuntimeError(f"get_timeline was answered: {answer}")
        return took, [entry["session_seq"] for entry in answer["entries"]], answer["next"]

    return page


async def writes(system: System, plan: Plan, found: Figures, notes: list[str]) -> None:
    """Each writing command in turn."""
    usual = REFERENCE_SECONDS if system.name == REFERENCE else SECONDS
    seconds = plan.seconds or usual
    key = system.headers.get("X-API-Key", "none")
    prefix = secrets.token_hex(4)
    environment = memories.wrk_environment(key, "respond-async", memories.template(prefix))
    await found.note(
        found.memories, system, flat_out(system, plan, seconds, environment, Written.memories(system, prefix), notes)
    )
    prefix = secrets.token_hex(4)
    environment = memories.wrk_environment(key, "respond-async", actions.template(prefix), "log_action")
    await found.note(
        found.actions, system, flat_out(system, plan, seconds, environment, Written.actions(system, prefix), notes)
    )
    await found.note(found.batches, system, in_batches(system))


class Written:
    """What of a run has been committed."""

    def __init__(self, system: System, table: str, column: str, prefix: str) -> None:
        self._url = system.database_url
        self._query = (
            f"select count(*), extract(epoch from max(created)) from {table}"
            f" where session_id = any(%s) and {column} like %s"
        )
        self._values = ([memories.session(number) for number in range(memories.SESSIONS)], f"{prefix}-%")

    @classmethod
    def memories(cls, system: System, prefix: str) -> Written:
        return cls(system, system.table, "key", prefix)

    @classmethod
    def actions(cls, system: System, prefix: str) -> Written:
        return cls(system, "reference_actions" if system.name == REFERENCE else "actions", "action_id", prefix)

    def so_far(self) -> tuple[int, float]:
        """How many rows, and when the last was (seconds of the epoch)."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(self._query, self._values).fetchone()
        assert row is not None
        return int(row[0]), float(row[1] or 0)

    async def all_of(self, accepted: int, who: str) -> tuple[int, float]:
        """Wait for as many as were accepted, and until no more come (wrk leaves some unanswered).

        Raises RuntimeError when some are missing after a minute.
        """
        deadline, before = time.monotonic() + PATIENCE, -1
        while time.monotonic() < deadline:
            rows, last = self.so_far()
            if rows >= accepted and rows == before:
                return rows, last
            before = rows
            await asyncio.sleep(0.25)
        raise RuntimeError(f"{who}: {accepted} commands were accepted, {before} are committed")


async def flat_out(
    system: System, plan: Plan, seconds: float, environment: dict[str, str], written: Written, notes: list[str]
) -> Done:
    """64 connections for `seconds`, counted until the last command was committed."""
    began = time.time()
    answered = await wrk("commands.lua", system.door, seconds, plan.directory, environment)
    if answered.failed or answered.broken:
        notes.append(f"{system.name}: {answered.failed} requests refused, {answered.broken} broken")
    accepted = answered.requests - answered.failed
    behind = accepted - written.so_far()[0]
    rows, last = await written.all_of(accepted, system.name)
    return Done(rows, rows / (last - began), f"{max(0, behind):,} waiting when the load ended")


async def in_batches(system: System) -> Done:
    """Batches over eight connections, each sent when the one before it is answered."""
    prefix = secrets.token_hex(4)
    theirs = system.name == REFERENCE
    bodies = [
        actions.batch(prefix, number, wrapped=not theirs) for number in range(REFERENCE_BATCHES if theirs else BATCHES)
    ]
    waiting = iter(bodies)
    headers = {"Content-Type": "application/json", **system.headers, "Prefer": "wait=30"}
    doors = [await Pipeline.open(system.door, "/api/commands/batch", headers) for _ in range(AT_ONCE)]

    async def send(door: Pipeline) -> None:
        for body in waiting:
            await door.publish([body])

    began = time.time()
    await asyncio.gather(*map(send, doors))
    for door in doors:
        door.close()
    rows, last = await Written.actions(system, prefix).all_of(len(bodies) * actions.IN_A_BATCH, system.name)
    return Done(rows, rows / (last - began))
