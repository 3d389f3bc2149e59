"""Programs the benchmarks start: each ends with them, and answers commands with lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
GRACE = 15.0


class Broken(RuntimeError):
    """A program of the benchmark did not do what it was started for; the message ends with its log."""


def python(module: str) -> list[str]:
    """How a module of this checkout is run under the same interpreter."""
    return [sys.executable, "-m", module]


class Program:
    """One child process and its log file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @classmethod
    async def start(
        cls,
        name: str,
        *argv: str | Path,
        directory: Path,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        answers: bool = False,
    ) -> Program:
        """Start it; with `port`, return once something accepts connections there. Dies with the benchmark.

        Its output goes to the log; with `answers` its stdout is for lines of JSON alone, and its stdin for ours.
        """
        log = directory / f"{name}.log"
        tether = [shutil.which("setpriv") or "", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *tether,
                *map(str, argv),
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=asyncio.subprocess.PIPE if answers else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if answers else output,
                stderr=output,
            )
        program = cls(name, process, log)
        if port is not None:
            try:
                await program._wait_for(port)
            except BaseException:
                await program.stop()
                raise
        return program

    async def _wait_for(self, port: int, patience: float = 30.0) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.process.returncode is not None:
                raise self.broken(f"ended with {self.process.returncode}")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise self.broken(f"does not listen on port {port}")

    async def ask(self, line: str, patience: float = 60.0) -> dict[str, Any]:
        """Send one line, return the next line of JSON."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        return await self.answer(patience)

    async def answer(self, patience: float = 60.0) -> dict[str, Any]:
        """The next line of JSON the program prints; raises Broken when there is none in time."""
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), patience)
        except TimeoutError:
            raise self.broken(f"said nothing for {patience:g} s") from None
        if not line:
            raise self.broken("ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def broken(self, what: str) -> Broken:
        tail = self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""
        return Broken(f"{self.name} {what}\n{tail}")

    def usage(self) -> tuple[float, int]:
        """CPU seconds and resident bytes of the program and its children so far."""
        return usage(self.process.pid)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace; harmless when it has ended already."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            if not await self._ended(GRACE):
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self._ended(GRACE)

    async def _ended(self, patience: float) -> bool:
        """Whether the program has ended within `patience`. Not `wait()`: that waits for its pipes to be read, too."""
        deadline = time.monotonic() + patience
        while self.process.returncode is None and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return self.process.returncode is not None


def usage(pid: int) -> tuple[float, int]:
    """CPU seconds of a process and all its descendants, ended ones included, and the resident bytes of the living."""
    seconds, resident = 0.0, 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0, 0
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
            resident += process.memory_info().rss
    return seconds, resident
