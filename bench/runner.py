"""An agent's output: from a process under a runner to a WebSocket client and into the database, beside a bare pipe."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

from bench import systems
from bench.figures import OURS, Benchmark, Measure, percentile
from bench.plan import Plan
from cli.local.environment import free_environment
from cli.local.stack import Stack
from switchyard_client import Connection

BARE = "a bare pipe reader"
LINES = 60_000
STEADY = 100.0
STEADY_SECONDS = 4.0
PATIENCE = 120.0
CLIENT = Path(__file__).resolve().parents[1] / "clients" / "python"
# 80 bytes a line, in chunks, as a program that writes to a pipe does.
LOUD = "import sys\nfor n in range({lines}):\n    sys.stdout.write('%079d\\n' % n)"
# A line says when it was written.
TICKING = "import time\nfor n in range({lines}):\n    time.sleep({pause})\n    print(time.time(), flush=True)"


async def run(plan: Plan) -> Benchmark:
    """A process that writes as fast as it can, then one that writes 100 lines a second."""
    seen = Measure("lines to a WebSocket client", "lines/s")
    kept = Measure("lines in the database", "lines/s")
    p50 = Measure(f"line to WebSocket client, p50 at {STEADY:g}/s", "ms", "lower")
    p99 = Measure(f"line to WebSocket client, p99 at {STEADY:g}/s", "ms", "lower")
    async with AsyncExitStack() as stack:
        plan.say("runner: starting a broker and a database")
        servers = systems.start_servers(plan, stack)
        # The pace a runner is asked to keep to would be all there is to see.
        environment = free_environment(
            DATABASE_URL=servers.database.url,
            AMQP_URL=servers.broker.url,
            SWITCHYARD_LOG_LEVEL=plan.log_level,
            SWITCHYARD_RUN_LINES_PER_S="1000000",
        )
        running = Stack(plan.directory / "switchyard", environment)
        stack.callback(running.stop)
        running.start()
        for number in range(plan.runs):
            plan.noise.sample()
            plan.say(f"runner {number + 1}/{plan.runs}")
            if plan.wants(BARE):
                seen.add(BARE, await asyncio.to_thread(bare_lines_a_second))
            if plan.wants(OURS):
                first, last, stored, _ = await through(running, LOUD.format(lines=LINES), LINES)
                seen.add(OURS, LINES / (last - first))
                kept.add(OURS, LINES / (stored - first), "from the first line seen to the last one stored")
                lines = int(STEADY * (plan.seconds or STEADY_SECONDS))
                late = (await through(running, TICKING.format(lines=lines, pause=1 / STEADY), lines))[3]
                p50.add(OURS, percentile(late, 0.5) * 1000)
                p99.add(OURS, percentile(late, 0.99) * 1000)
    notes = [
        f"{LINES} lines of 80 bytes; a connection may send 50 frames a second and a runner sends up to 500 lines in one"
        " every 25 ms, so 20,000 lines/s is the most that one run can bring; the server asks runners to keep to"
        " SWITCHYARD_RUN_LINES_PER_S (10,000), which is lifted here",
    ]
    return Benchmark("runner", "Agents: output of a process under a runner", [seen, kept, p50, p99], notes)


def bare_lines_a_second() -> float:
    """How fast lines are counted that come through a pipe."""
    lines = LINES * 10
    process = subprocess.Popen([sys.executable, "-c", LOUD.format(lines=lines)], stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    began, count = 0.0, 0
    while data := process.stdout.read(65536):
        began = began or time.monotonic()
        count += data.count(b"\n")
    seconds = time.monotonic() - began
    process.stdout.close()
    process.wait()
    if count != lines:
        raise RuntimeError(f"{count} of {lines} lines came through the pipe")
    return lines / seconds


async def through(running: Stack, program: str, lines: int) -> tuple[float, float, float, list[float]]:
    """When the first and the last line of a program were seen by a client, when the last was stored, and how late each
    line was seen that says when it was written. Raises RuntimeError when a line is missing."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    systems.post(running, "/api/commands/register_agent", {"name": name, "type": "bench"})
    gateway = running.environment.gateway_url
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Connection(gateway, _token(running, f"{name}-listener")))
        await client.subscribe(f"agent.{name}.output")
        runner = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "switchyard_client", "agent", "run", name, "--once"),
            *("--", sys.executable, "-c", program),
            env={
                **os.environ,
                "PYTHONPATH": str(CLIENT),
                "SWITCHYARD_GATEWAY_URL": gateway,
                "SWITCHYARD_TOKEN": _token(running, name),
            },
            stderr=subprocess.DEVNULL,
        )
        stack.push_async_callback(_ended, runner)
        first = last = 0.0
        expected, late, run_id = 1, [], ""
        async with asyncio.timeout(PATIENCE):
            async for event in client.events():
                if event["type"] != "agent_output_added":
                    raise RuntimeError(f"the listener was told {event}")
                last, now = time.monotonic(), time.time()
                first, run_id = first or last, event["run_id"]
                if event["first_line"] != expected:
                    raise RuntimeError(f"line {event['first_line']} came where {expected} was due")
                expected += len(event["lines"])
                if "." in event["lines"][0]["text"]:
                    late += [now - float(line["text"]) for line in event["lines"]]
                if expected > lines:
                    break
            while (await client.command("get_run", {"run_id": run_id}))["run"]["lines"] < lines:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return first, last, time.monotonic(), late


async def _ended(runner: asyncio.subprocess.Process) -> None:
    if runner.returncode is None:
        runner.terminate()
    await runner.wait()


def _token(running: Stack, agent_id: str) -> str:
    body = {"agent_id": agent_id, "permission": "active"}
    token: str = systems.post(running, "/api/tokens", body)["token"]
    return token
