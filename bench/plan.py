"""How a benchmark is to be run: how often, how long, on what, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.noise import Noise


@dataclass(frozen=True)
class Plan:
    """Settings every benchmark is given."""

    directory: Path  # for logs, sockets and data of the programs under test; removed at the end
    runs: int = 3
    seconds: float | None = None  # of one run; None: what the benchmark thinks right
    minutes: float = 0.5  # of load for the memory figures
    rows: int = 1_000_000
    log_level: str = "warning"  # of our services; the references log nothing either
    only: frozenset[str] = frozenset()  # contestants, by a part of their name; empty: all
    say: Callable[[str], None] = print
    noise: Noise = field(default_factory=Noise)

    def wants(self, contestant: str) -> bool:
        return not self.only or any(part.lower() in contestant.lower() for part in self.only)
