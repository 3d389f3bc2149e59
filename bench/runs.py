"""Lines of agents' runs into the database: one statement for many beside an insert for each."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import psycopg

from bench.figures import OURS, Benchmark, Goal, Measure
from bench.plan import Plan
from cli.local.postgres import Postgres
from services.task_worker.handlers import BATCH_HANDLERS, HANDLERS, SHARING
from shared.bus.commit import GroupCommit, Outcome
from shared.database import Database
from shared.messages import Command, decode_command, encode_command, new_id, now

SINGLE = "an insert each"
TOGETHER = "an insert each, a transaction for 500"
# What the source design measured for each record of a batch of 100.
SOURCE_MICROSECONDS = 45.0
LINES = 500
COMMANDS = 8  # as many as go into one transaction
TEXT = "12:00:00,123 INFO tasks: 0199f7f0 done in 42 ms, 12 passed, see src/app.py:31"

_INSERT = (
    "insert into agent_output (run_id, number, stream, text, partial, at) values (%s, %s, 'stdout', %s, false, now())"
)


async def run(plan: Plan) -> Benchmark:
    """Whole commands, as the worker runs them without its broker; then the bare statements."""
    whole = Measure("agent_output, from command to commit", "lines/s", "higher")
    bare = Measure(
        "a line, of a commit of so many", "µs", "lower",
        goals=(Goal(OURS, value=SOURCE_MICROSECONDS), Goal(OURS, factor=0.1, reference=SINGLE)),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        server = Postgres(plan.directory / "postgres")
        stack.callback(server.stop)
        server.start()
        await asyncio.to_thread(_migrate, server.url)
        database = Database(server.url, name="bench")
        stack.push_async_callback(database.close)
        for number in range(plan.runs):
            plan.noise.sample()
            plan.say(f"runs {number + 1}/{plan.runs}")
            for count in (1, COMMANDS):
                seconds, lines = await _ours(database, count)
                whole.add(f"{OURS}, {count} commands in a transaction" if count > 1 else OURS, lines / seconds)
                if count == 1:
                    bare.add(OURS, seconds / lines * 1e6, "with masking, the event, the record and the run's counts")
            if plan.wants(SINGLE):
                bare.add(SINGLE, await asyncio.to_thread(_singly, server.url, 1_000, together=False))
                bare.add(TOGETHER, await asyncio.to_thread(_singly, server.url, 10_000, together=True))
    return Benchmark(
        "runs", f"Output of agents' runs: {LINES} lines of {len(TEXT)} letters in a command", [whole, bare]
    )


def _migrate(url: str) -> None:
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=True, capture_output=True)


async def _ours(database: Database, count: int) -> tuple[float, int]:
    """Seconds that 20 transactions of so many commands of a new run took, and how many lines that were."""
    run_id = new_id()
    report = {"run_id": run_id, "agent_name": "bench", "session_id": "bench", "state": "running"}
    async with database.transaction() as tx:
        await (await _connection(tx)).execute("insert into sessions (id) values ('bench') on conflict do nothing")
    await _commit(database, [_command("agent_report", report)])
    line = {"stream": "stdout", "text": TEXT, "at": now()}
    bodies = [
        _body("agent_output", {"run_id": run_id, "first_line": 1 + at * LINES, "lines": [line] * LINES})
        for at in range(20 * count)
    ]
    began = time.perf_counter()
    for at in range(0, len(bodies), count):
        outcomes = await _commit(database, [decode_command(body) for body in bodies[at : at + count]])
        assert all(outcome.outcome == "ok" for outcome in outcomes)
    return time.perf_counter() - began, len(bodies) * LINES


async def _commit(database: Database, commands: list[Command]) -> list[Outcome]:
    async with database.transaction() as tx:
        answers = await GroupCommit(HANDLERS, BATCH_HANDLERS, SHARING).run(tx, commands, patient=set())
    return [answer for answer in answers if isinstance(answer, Outcome)]


def _body(name: str, data: dict[str, Any]) -> bytes:
    return encode_command(name, data, message_id=new_id(), sender_agent_id="bench")


def _command(name: str, data: dict[str, Any]) -> Command:
    return decode_command(_body(name, data))


async def _connection(tx: Any) -> Any:
    return (await tx.get_raw_connection()).driver_connection


def _singly(url: str, count: int, *, together: bool) -> float:
    """Microseconds an insert takes."""
    run_id = new_id()
    with psycopg.connect(url, autocommit=not together) as connection:
        began = time.perf_counter()
        for number in range(1, count + 1):
            connection.execute(_INSERT, (run_id, number, TEXT), prepare=True)
            if together and number % LINES == 0:
                connection.commit()
        return (time.perf_counter() - began) / count * 1e6
