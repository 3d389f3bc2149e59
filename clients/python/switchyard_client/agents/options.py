"""What a runner is told: whose tasks it does, with which command, how many at once, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from switchyard_client.agents.recipes import RECIPES, Recipe

SPOOL_BYTES = 64 * 1024 * 1024
GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """The settings of one runner."""

    agent_name: str
    command: Sequence[str]
    recipe: Recipe = field(default_factory=lambda: RECIPES["shell"])
    terminal: bool = False
    # The input stays open after the task, for `send_input`.
    interactive: bool = False
    concurrency: int = 1
    capabilities: Sequence[str] = ()
    workdir: Path | None = None
    repository: Path | None = None
    allowed: Sequence[str] = ()
    timeout_s: float | None = None
    grace_s: float = GRACE_SECONDS
    # Of a single process: never, on-failure, always.
    restart: str = "never"
    # End after so many tasks.
    count: int | None = None
    spool_bytes: int = SPOOL_BYTES
    worker_id: str = ""
    title: str | None = None
