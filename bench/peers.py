"""The task queues of others: made in an environment of their own, each with one worker process, counted and stopped."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from pamqp import commands as amqp

from bench.processes import BENCH, Program
from bench.systems import Servers
from bench.tools import BUILD
from shared.bus.connection import Connection

REQUIREMENTS = BENCH / "references" / "requirements-tasks.txt"
PATIENCE = 60.0


@dataclass(frozen=True)
class Sending:
    """A way to send a peer's tasks, measured by itself."""

    name: str
    # About how many tasks it does a second, to know how many make a run.
    pace: int
    # Whether every task is confirmed, by the broker or the database, before its sender goes on.
    confirmed: bool = True


@dataclass(frozen=True)
class Peer:
    """A task queue as its users run it."""

    module: str
    # What its worker is started with; `{module}` is replaced.
    worker: tuple[str, ...]
    # The queue that must be empty in the end; None: its jobs are in PostgreSQL.
    queue: str | None
    sendings: tuple[Sending, ...]
    # Run once before the worker.
    prepare: tuple[str, ...] = ()


PEERS = (
    Peer(
        "tasks_dramatiq",
        ("dramatiq", "--processes", "1", "{module}"),
        "default",
        (Sending("Dramatiq, confirms", 1_500), Sending("Dramatiq, no confirms", 2_500, confirmed=False)),
    ),
    Peer(
        "tasks_celery",
        ("celery", "--app", "{module}", "--quiet", "worker", "--pool", "solo", "--loglevel", "warning"),
        "celery",
        (Sending("Celery solo, confirms", 1_000), Sending("Celery solo, no confirms", 1_500, confirmed=False)),
    ),
    Peer(
        "tasks_taskiq",
        ("taskiq", "worker", "{module}:broker", "--workers", "1", "--log-level", "WARNING"),
        "taskiq",
        (Sending("taskiq, confirms", 2_000),),
    ),
    Peer(
        "tasks_procrastinate",
        ("procrastinate", "--app", "{module}.app", "worker", "--concurrency", "20"),
        None,
        (Sending("Procrastinate", 500),),
        prepare=("procrastinate", "--app", "{module}.app", "schema", "--apply"),
    ),
)


def environment() -> Path | None:
    """The folder of the peers' programs, made with uv when there is none yet; None when that is not possible here."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        return None
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    folder = BUILD / "tasks"
    stamp = folder / "made-from"
    if not (stamp.exists() and stamp.read_text() == wanted):
        python = folder / "bin" / "python"
        shutil.rmtree(folder, ignore_errors=True)
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        fill = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "-r", str(REQUIREMENTS)]
        for command in (make, fill):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return None
        stamp.write_text(wanted)
    return folder / "bin"


@dataclass
class Running:
    """One peer with its worker running."""

    peer: Peer
    programs: Path
    servers: Servers
    directory: Path
    record: Path
    worker: Program | None = None
    sent: int = 0

    @classmethod
    async def start(cls, peer: Peer, programs: Path, servers: Servers, directory: Path) -> Running:
        """Its worker, warm: it has done some tasks."""
        running = cls(peer, programs, servers, directory, directory / f"{peer.module}-done")
        if peer.prepare:
            await (await running._start("prepare", *peer.prepare)).process.wait()
        running.worker = await running._start("worker", *peer.worker)
        try:
            await running.tasks(peer.sendings[0], 80)
        except BaseException:
            await running.worker.stop()
            raise
        return running

    async def tasks(self, sending: Sending, count: int, rate: float = 0.0) -> tuple[float, list[float]]:
        """Have so many tasks done (a multiple of eight); seconds from the first sending to the last end, and the waits.

        Raises RuntimeError when some are not done in time.
        """
        before = self.sent
        self.sent += count
        script = BENCH / "references" / f"{self.peer.module}.py"
        producer = await self._start("producer", "python", script, count, rate, sending=sending)
        try:
            told = await producer.answer(PATIENCE)
            await self._reach(self.sent)
            ended = time.time()
        finally:
            await producer.stop()
        waits = [wait for (wait,) in struct.iter_unpack("<d", self.record.read_bytes())]
        return ended - told["began"], waits[before:]

    async def check(self) -> None:
        """Stop the worker, and see in its broker or database that every task is done.

        Raises RuntimeError when one is not, or was done twice.
        """
        await self.stop()
        name = self.peer.module.removeprefix("tasks_")
        done = self.record.stat().st_size // 8
        if done != self.sent:
            raise RuntimeError(f"{name}: {self.sent} tasks were sent, {done} were done")
        if self.peer.queue is None:
            if (jobs := _procrastinate_jobs(self.servers.database.url)) != {"succeeded": self.sent}:
                raise RuntimeError(f"{name}: {self.sent} tasks were sent, in its table are {jobs}")
        elif left := await _messages(self.servers.broker.url, self.peer.queue):
            raise RuntimeError(f"{name}: {left} tasks were not acknowledged")

    async def stop(self) -> None:
        """Stop the worker."""
        if self.worker is not None:
            await self.worker.stop()

    async def _reach(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.record.exists() or self.record.stat().st_size < count * 8:
            if time.monotonic() > deadline:
                assert self.worker is not None
                done = self.record.stat().st_size // 8 if self.record.exists() else 0
                raise self.worker.broken(f"has done {done} of {count} tasks in {PATIENCE:g} s")
            await asyncio.sleep(0.002)

    async def _start(self, role: str, program: str, *words: object, sending: Sending | None = None) -> Program:
        return await Program.start(
            f"{self.peer.module}-{role}",
            self.programs / program,
            *(str(word).format(module=self.peer.module) for word in words),
            directory=self.directory,
            env={
                "AMQP_URL": self.servers.broker.url,
                "DATABASE_URL": self.servers.database.url,
                "CONFIRMS": "no" if sending and not sending.confirmed else "yes",
                "RECORD": str(self.record),
                "PYTHONPATH": str(BENCH / "references"),
                "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            },
            answers=sending is not None,
        )


def _procrastinate_jobs(url: str) -> dict[str, int]:
    """How many jobs there are, by status."""
    with psycopg.connect(url) as connection:
        return dict(connection.execute("select status::text, count(*) from procrastinate_jobs group by 1").fetchall())


async def _messages(url: str, queue: str) -> int:
    """The messages of a queue; those a stopped worker had not acknowledged are back in it."""
    async with await Connection.open(url, name="bench") as connection:
        declared = await connection.call(amqp.Queue.Declare(queue=queue, passive=True))
    return int(declared.message_count)
