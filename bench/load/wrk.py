"""HTTP load by wrk: closed loop, 64 connections, one thread."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import tools
from bench.processes import BENCH, Broken

CONNECTIONS = 64


@dataclass(frozen=True)
class Answered:
    """What wrk saw; latencies in milliseconds."""

    requests: int  # answered, whatever the status
    seconds: float
    failed: int  # status 400 and above
    broken: int  # connect, read, write errors and timeouts
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def per_second(self) -> float:
        return (self.requests - self.failed) / self.seconds


async def wrk(script: str, port: int, seconds: float, directory: Path, env: Mapping[str, str]) -> Answered:
    """Run a script of bench/load for about `seconds`; raises Broken when wrk is missing or fails."""
    program = tools.wrk()
    if program is None:
        raise Broken("wrk is not installed, and could not be (apt-get install wrk)")
    whole = directory / script
    whole.write_text((BENCH / "load" / script).read_text() + (BENCH / "load/report.lua").read_text())
    # wrk counts whole seconds.
    command = [program, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(whole)]
    process = await asyncio.create_subprocess_exec(
        *command, f"http://127.0.0.1:{port}",
        env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode(errors="replace")
    for line in output.splitlines():
        if line.startswith("BENCH "):
            return Answered(**json.loads(line.removeprefix("BENCH ")))
    raise Broken(f"wrk ended with {process.returncode}:\n{output}")
