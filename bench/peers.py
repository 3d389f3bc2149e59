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
class Peer:
    """A task queue as its users run it."""

    name: str
    module: str
    # What its worker is started with; `{module}` is replaced.
    worker: tuple[str, ...]
    # The queue that must be empty in the end; None: its jobs are in PostgreSQL.
    queue: str | None
    # About how many tasks it does a second, to know how many make a run.
    pace: int
    confirms: bool = True
    # Run once before the first worker.
    prepare: tuple[str, ...] = ()


_DRAMATIQ = ("dramatiq", "--processes", "1", "{module}")
_CELERY = ("celery", "--app", "{module}", "--quiet", "worker", "--pool", "solo", "--loglevel", "warning")
PEERS = (
    Peer("Dramatiq, confirms", "tasks_dramatiq", _DRAMATIQ, "default", 1_500),
    Peer("Dramatiq, no confirms", "tasks_dramatiq", _DRAMATIQ, "default", 2_500, confirms=False),
    Peer("Celery solo, confirms", "tasks_celery", _CELERY, "celery", 1_000),
    Peer("Celery solo, no confirms", "tasks_celery", _CELERY, "celery", 1_500, confirms=False),
    Peer(
        "taskiq, confirms",
        "tasks_taskiq",
        ("taskiq", "worker", "{module}:broker", "--workers", "1", "--log-level", "WARNING"),
        "taskiq",
        2_000,
    ),
    Peer(
        "Procrastinate",
        "tasks_procrastinate",
        ("procrastinate", "--app", "{module}.app", "worker", "--concurrency", "20"),
        None,
        500,
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
        """Its worker, warm: it has done fifty tasks."""
        record = directory / f"{peer.module}-{time.monotonic_ns()}"
        running = cls(peer, programs, servers, directory, record)
        if peer.prepare and not (stamp := directory / f"{peer.module}-prepared").exists():
            prepare = await running._start("prepare", *peer.prepare)
            await prepare.process.wait()
            stamp.touch()
        running.worker = await running._start("worker", *peer.worker)
        try:
            await running.tasks(56)
        except BaseException:
            await running.worker.stop()
            raise
        return running

    async def tasks(self, count: int, rate: float = 0.0) -> tuple[float, list[float]]:
        """Have so many tasks done (a multiple of eight); seconds from the first sending to the last end, and the waits.

        Raises RuntimeError when some are not done in time.
        """
        before = self.sent
        self.sent += count
        producer = await self._start("producer", "python", f"{self.peer.module}.py", count, rate, answers=True)
        try:
            told = await producer.answer(PATIENCE)
            await self._reach(self.sent)
            ended = time.time()
        finally:
            await producer.stop()
        waits = [wait for (wait,) in struct.iter_unpack("<d", self.record.read_bytes())]
        return ended - told["began"], waits[before:]

    async def stop(self) -> None:
        """Stop the worker, and see in its broker or database that every task is done.

        Raises RuntimeError when one is not, or was done twice.
        """
        assert self.worker is not None
        await self.worker.stop()
        done = self.record.stat().st_size // 8
        if done != self.sent:
            raise RuntimeError(f"{self.peer.name}: {self.sent} tasks were sent, {done} were done")
        if self.peer.queue is None:
            left, succeeded = _procrastinate_jobs(self.servers.database.url)
            if left or not succeeded:
                raise RuntimeError(f"{self.peer.name}: {left} jobs have not succeeded, {succeeded} have")
        elif left := await _messages(self.servers.broker.url, self.peer.queue):
            raise RuntimeError(f"{self.peer.name}: {left} tasks were not acknowledged")

    async def _reach(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.record.exists() or self.record.stat().st_size < count * 8:
            if time.monotonic() > deadline:
                assert self.worker is not None
                done = self.record.stat().st_size // 8 if self.record.exists() else 0
                raise self.worker.broken(f"has done {done} of {count} tasks in {PATIENCE:g} s")
            await asyncio.sleep(0.002)

    async def _start(self, role: str, program: str, *words: object, answers: bool = False) -> Program:
        # By its path in references/: a module given to `python` by name would not be found from the checkout.
        argv = [str(word).format(module=self.peer.module) for word in words]
        if program == "python":
            argv[0] = str(BENCH / "references" / argv[0])
        return await Program.start(
            f"{self.peer.module}-{role}",
            self.programs / program,
            *argv,
            directory=self.directory,
            env={
                "AMQP_URL": self.servers.broker.url,
                "DATABASE_URL": self.servers.database.url,
                "CONFIRMS": "yes" if self.peer.confirms else "no",
                "RECORD": str(self.record),
                "PYTHONPATH": str(BENCH / "references"),
                "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            },
            answers=answers,
        )


def _procrastinate_jobs(url: str) -> tuple[int, int]:
    query = "select count(*) filter (where status <> 'succeeded'), count(*) from procrastinate_jobs"
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0]), int(row[1] - row[0])


async def _messages(url: str, queue: str) -> int:
    """The messages of a queue; those a stopped worker had not acknowledged are back in it."""
    async with await Connection.open(url, name="bench") as connection:
        declared = await connection.call(amqp.Queue.Declare(queue=queue, passive=True))
    return int(declared.message_count)
