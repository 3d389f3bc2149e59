"""Answers of chat bots without a model: cold, warm and hot turns, twenty rooms at once, and the memory they take."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack

import psutil

from bench.figures import OURS, Benchmark, Goal, Measure, percentile
from bench.plan import Plan
from bench.processes import Program, python, usage
from bench.systems import Servers, start_servers
from cli.local.environment import free_environment
from cli.local.ports import free_port
from cli.local.stack import Stack

BARE = "Claude Agent SDK, bare"
TURNS = 5
HOT_TURNS = 100
ROOMS = 20
ROUNDS = 5
# A hot answer of ours may take so much of the bare SDK's, and this long more.
FACTOR = 1.15
BEYOND_MS = 10.0
_BOT = """
[bots.bench]
model = "claude-sonnet-4-5"
system_prompt = "You are a helpful bot."
"""


async def run(plan: Plan) -> Benchmark:
    """The SDK by itself and our bots in turn, against one stand-in for the Messages API that answers at once."""
    found = Figures()
    async with AsyncExitStack() as stack:
        port = free_port()
        api = await Program.start(
            "messages-api",
            *python("standins"),
            "messages_api",
            "--port",
            str(port),
            directory=plan.directory,
            port=port,
        )
        stack.push_async_callback(api.stop)
        url = f"http://127.0.0.1:{port}"
        servers = start_servers(plan, stack) if plan.wants(OURS) else None
        for number in range(plan.runs):
            plan.noise.sample()
            if plan.wants(BARE):
                plan.say(f"chat {number + 1}/{plan.runs}: {BARE}")
                await bare(plan, url, found)
            if servers is not None:
                plan.say(f"chat {number + 1}/{plan.runs}: {OURS}")
                await ours(plan, url, servers, found)
            found.compare()
    notes = [
        "the stand-in for the Messages API answers at once, so that what is left is the SDK, its command line program"
        " and ourselves",
        "cold: a new conversation from nothing to the whole answer; warm: one that is resumed; hot: a connected client",
        "ours: from the publishing of chat_message on RabbitMQ to chat_answered there; the turn, the answer and the"
        " transcript are committed in PostgreSQL in between",
    ]
    return Benchmark("chat", "Chat: a bot's answer, with a model that takes no time", found.measures(), notes)


class Figures:
    """What is measured of each contestant."""

    def __init__(self) -> None:
        self.cold = Measure("cold turn, p50", "ms", "lower")
        self.warm = Measure("warm turn, p50", "ms", "lower")
        self.hot = Measure("hot turn, p50", "ms", "lower")
        self.beyond = Measure(
            f"hot turn, p50, beyond {FACTOR:g} of the bare SDK's", "ms", "lower", goals=(Goal(OURS, value=BEYOND_MS),)
        )
        self.hot_p99 = Measure("hot turn, p99", "ms", "lower")
        self.cpu = Measure("hot turn, CPU of the client and its program", "ms", "lower")
        self.ratio = Measure("hot turn / cold turn", "", "lower", goals=(Goal(OURS, value=0.2),))
        self.first = Measure(f"{ROOMS} rooms at once: all have their first answer", "ms", "lower")
        self.crowded = Measure(f"{ROOMS} rooms at once: hot turn, p50", "ms", "lower")
        self.memory = Measure("memory of an idle client (PSS)", "MB", "lower")

    def compare(self) -> None:
        """What our hot turn of this run takes beyond what is granted; nothing when one of the two was left out."""
        bare, own = self.hot.figures.get(BARE), self.hot.figures.get(OURS)
        if bare is not None and own is not None:
            self.beyond.add(OURS, own.runs[-1] - FACTOR * bare.runs[-1])

    def measures(self) -> list[Measure]:
        """Those that have a figure."""
        return [each for each in vars(self).values() if each.figures]


async def bare(plan: Plan, url: str, found: Figures) -> None:
    """One run of the SDK by itself."""
    program = await Program.start(
        "claude-sdk",
        *python("bench.references.claude_sdk"),
        url,
        plan.directory / "claude-sdk",
        directory=plan.directory,
        answers=True,
    )
    try:
        cold = await program.ask(f"cold {TURNS}", 120)
        warm = await program.ask(f"warm {TURNS}", 120)
        hot = await program.ask(f"hot {HOT_TURNS}", 120)
        rooms = await program.ask(f"rooms {ROOMS} {ROUNDS}", 240)
    finally:
        await program.stop()
    usual = {name: percentile(each["answer_ms"], 0.5) for name, each in (("cold", cold), ("warm", warm), ("hot", hot))}
    found.cold.add(BARE, usual["cold"], f"{percentile(cold['connect_ms'], 0.5):.0f} ms of it to the connection")
    found.warm.add(BARE, usual["warm"], f"{percentile(warm['connect_ms'], 0.5):.0f} ms of it to the connection")
    found.hot.add(BARE, usual["hot"])
    found.hot_p99.add(BARE, percentile(hot["answer_ms"], 0.99), f"max {max(hot['answer_ms']):.0f} ms")
    found.cpu.add(BARE, hot["cpu_ms"])
    found.ratio.add(BARE, usual["hot"] / usual["cold"])
    found.first.add(BARE, rooms["all_first_ms"])
    found.crowded.add(BARE, percentile(rooms["answer_ms"], 0.5))
    found.memory.add(BARE, rooms["pss_mb"], f"RSS {rooms['rss_mb']:.0f} MB")


async def ours(plan: Plan, url: str, servers: Servers, found: Figures) -> None:
    """One run of our worker, asked and heard on the bus."""
    config = plan.directory / "bots.toml"
    config.write_text(_BOT)
    environment = free_environment(
        DATABASE_URL=servers.database.url,
        AMQP_URL=servers.broker.url,
        SWITCHYARD_LOG_LEVEL=plan.log_level,
        SWITCHYARD_CONFIG=str(config),
        SWITCHYARD_CHAT_MAX_CLIENTS=str(2 * ROOMS),
        ANTHROPIC_BASE_URL=url,
        ANTHROPIC_API_KEY="sk-stand-in",
    )
    with Stack(plan.directory / "switchyard", environment, ["claude_worker"]) as running:
        worker = running.process("claude_worker").pid or 0
        program = await Program.start(
            "talker", *python("bench.ours.chat"), servers.broker.url, directory=plan.directory, answers=True
        )
        try:
            cold = await program.ask(f"cold {TURNS}", 240)
            warm = await program.ask(f"warm {TURNS}", 240)
            before = usage(worker)[0]
            hot = await program.ask(f"hot {HOT_TURNS}", 240)
            cpu_ms = (usage(worker)[0] - before) / HOT_TURNS * 1000
            rooms = await program.ask(f"rooms {ROOMS} {ROUNDS}", 240)
            memory = client_memory(worker)
        finally:
            await program.stop()
    usual = {name: percentile(each["answer_ms"], 0.5) for name, each in (("cold", cold), ("warm", warm), ("hot", hot))}
    found.cold.add(OURS, usual["cold"], f"{percentile(cold['connect_ms'], 0.5):.0f} ms of it to the connection")
    found.warm.add(OURS, usual["warm"], f"{percentile(warm['connect_ms'], 0.5):.0f} ms of it to the connection")
    parts = [
        f"{word} {percentile(hot[name], 0.5):.0f}" for word, name in (("waited", "waited_ms"), ("asked", "asking_ms"))
    ]
    found.hot.add(OURS, usual["hot"], ", ".join(parts))
    found.hot_p99.add(OURS, percentile(hot["answer_ms"], 0.99), f"max {max(hot['answer_ms']):.0f} ms")
    found.cpu.add(OURS, cpu_ms, "the worker and its clients, without broker and database")
    found.ratio.add(OURS, usual["hot"] / usual["cold"])
    found.first.add(OURS, rooms["all_first_ms"])
    found.crowded.add(OURS, percentile(rooms["answer_ms"], 0.5))
    found.memory.add(OURS, memory)


def client_memory(worker: int) -> float:
    """MB of a client of this worker, what they share counted once; NaN where the system does not tell."""
    clients = [child for child in psutil.Process(worker).children(recursive=True) if "claude" in child.name()]
    each = [getattr(client.memory_full_info(), "pss", math.nan) for client in clients]
    return sum(each) / len(each) / 1e6 if each else math.nan
