"""Processes beside the stack: services that crash at a chosen moment, and ingresses with settings of their own."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from cli.local.environment import ROOT
from cli.local.ports import free_port
from cli.local.processes import last_lines
from cli.local.stack import ready
from tests.faults.system import System
from tests.waiting import eventually_async


class Process:
    """A process with its log in a file; `end` kills it if it still lives."""

    def __init__(self, system: System, folder: Path, *command: str, **environment: str) -> None:
        self._command = [sys.executable, "-m", *command]
        self._environment = {**system.stack.environment.for_children(), **environment}
        self._log = folder / f"{'-'.join(command)}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Start it, with some settings changed if given."""
        self._environment |= environment
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait()

    async def stop(self, seconds: float = 15) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await self.ended(seconds)

    async def ended(self, seconds: float = 30) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""
        process = self._process
        assert process is not None

        async def has_ended() -> bool:
            return process.poll() is not None

        await eventually_async(has_ended, seconds, because=f"the end of {self._command}\n{self.log}")
        return int(process.returncode)

    @property
    def log(self) -> str:
        """The end of what it wrote."""
        return last_lines(self._log, 30)


class Ingress(Process):
    """An ingress beside that of the stack, with a port and a spool of its own."""

    def __init__(self, system: System, folder: Path, **environment: str) -> None:
        self.port = free_port()
        super().__init__(
            system, folder, "services.ingress", SWITCHYARD_INGRESS_PORT=str(self.port),
            SWITCHYARD_DATA=str(folder), **environment,
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"

    async def serves(self, seconds: float = 30) -> None:
        """Wait until it answers at all, ready or not."""

        async def answers() -> bool:
            return "no answer" not in (await asyncio.to_thread(ready, self.port))[1]

        await eventually_async(answers, seconds, because=f"the ingress\n{self.log}")
