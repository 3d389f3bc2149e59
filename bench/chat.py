"""Answers of chat bots without a model: cold, warm and hot turns, twenty rooms at once, and the memory they take."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.figures import Benchmark, Measure, percentile
from bench.plan import Plan
from bench.processes import Program, python
from cli.local.ports import free_port

BARE = "Claude Agent SDK, bare"
TURNS = 5
HOT_TURNS = 100
ROOMS = 20
ROUNDS = 5


async def run(plan: Plan) -> Benchmark:
    """The SDK by itself, against a stand-in for the Messages API that answers at once."""
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
        for number in range(plan.runs):
            plan.noise.sample()
            if plan.wants(BARE):
                plan.say(f"chat {number + 1}/{plan.runs}: {BARE}")
                await bare(plan, url, found)
    notes = [
        "the stand-in for the Messages API answers at once, so that what is left is the SDK, its command line program"
        " and ourselves",
        "cold: a new conversation from nothing to the whole answer; warm: one that is resumed; hot: a connected client",
    ]
    return Benchmark("chat", "Chat: a bot's answer, with a model that takes no time", found.measures(), notes)


class Figures:
    """What is measured of each contestant."""

    def __init__(self) -> None:
        self.cold = Measure("cold turn, p50", "ms", "lower")
        self.warm = Measure("warm turn, p50", "ms", "lower")
        self.hot = Measure("hot turn, p50", "ms", "lower")
        self.hot_p99 = Measure("hot turn, p99", "ms", "lower")
        self.cpu = Measure("hot turn, CPU of the client and its program", "ms", "lower")
        self.ratio = Measure("hot turn / cold turn", "", "lower")
        self.first = Measure(f"{ROOMS} rooms at once: all have their first answer", "ms", "lower")
        self.crowded = Measure(f"{ROOMS} rooms at once: hot turn, p50", "ms", "lower")
        self.memory = Measure("memory of an idle client (PSS)", "MB", "lower")

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
