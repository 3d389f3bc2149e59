"""The harness's end of the WebSocket sink: a process that holds the receiving sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import Broken, Program, python
from bench.tools import compiled


@dataclass(frozen=True)
class Received:
    """What the clients received since `start`; latencies in milliseconds, over all sampled events."""

    events: int
    others: int
    gaps: int
    closed: int
    bytes: int
    seconds: float  # from the first event's stamp to the last arrival
    p50_ms: float
    p99_ms: float
    max_ms: float
    samples: int
    cpu_share: float  # of one core, used by the sink itself

    @property
    def per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


class Sink:
    """Many WebSocket clients in one process."""

    def __init__(self, program: Program, clients: int) -> None:
        self.program = program
        self.clients = clients

    @classmethod
    async def connect(
        cls, port: int, path: str, clients: int, directory: Path,
        headers: Sequence[str] = (), subscribe: str = "-", name: str = "sink",
    ) -> Sink:  # fmt: skip
        """Connect `clients` sockets; `headers` holds one line for each, `subscribe` is the frame each then sends."""
        binary = compiled("load/ws_sink.c")
        command = [str(binary)] if binary else python("bench.load.ws_sink")
        listing = "-"
        if headers:
            file = directory / f"{name}.headers"
            file.write_text("".join(f"{line}\n" for line in headers))
            listing = str(file)
        program = await Program.start(
            name, *command, "127.0.0.1", str(port), path, str(clients), listing, subscribe,
            directory=directory, answers=True,
        )  # fmt: skip
        try:
            await program.answer()
        except BaseException:
            await program.stop()
            raise
        return cls(program, clients)

    async def start(self, stride: int = 1) -> None:
        """Count from zero; sample every `stride`-th event."""
        await self.program.ask(f"start {stride} 0")

    async def reached(self, events: int, patience: float) -> bool:
        """Wait until `events` have arrived since `start`; whether they did in time."""
        try:
            await self.program.ask(f"expect {events}", patience)
        except Broken:
            if self.program.process.returncode is not None:
                raise
            return False
        return True

    async def report(self) -> Received:
        answer: dict[str, Any] = {}
        while "events" not in answer:  # the line of an `expect` that came too late may lie before it
            answer = await self.program.ask("report")
        return Received(**answer)

    async def stop(self) -> None:
        await self.program.stop()
