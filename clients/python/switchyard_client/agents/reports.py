"""What a runner tells of one run, in order: changes of state, signs of life, answers to what was asked of it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from switchyard_client.connection import Connection
from switchyard_client.errors import CommandRefused

HEARTBEAT_SECONDS = 10.0
GIVEN_AWAY = "task_given_away"
# Nothing longer is taken as a cause or an error.
MAX_LABEL = 900

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What a run is: told with its first report."""

    run_id: str
    name: str
    agent_name: str
    session_id: str
    worker_id: str
    command: str
    recipe: str | None = None
    task_id: str | None = None
    attempt: int | None = None


class Reports:
    """The reports of one run."""

    def __init__(self, bus: Connection, facts: Facts, given_away: Callable[[], None]) -> None:
        """`given_away` is called when the server has given the run's task to another."""
        self._bus = bus
        self._facts = facts
        self._given_away = given_away
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # How far our clock is ahead of the server's.
        self.ahead = timedelta()

    async def begin(self) -> None:
        """Make the run known. Raises `CommandRefused`."""
        facts = {name: value for name, value in vars(self._facts).items() if value is not None}
        answer = await self._bus.command("agent_report", {**facts, "state": "starting"})
        self.ahead = datetime.now(UTC) - datetime.fromisoformat(answer["run"]["heard"])

    def say(self, **report: Any) -> None:
        """Report this, behind what was reported before."""
        self._waiting.put_nowait({name: value for name, value in report.items() if value is not None})

    async def told(self) -> None:
        """Wait until all of it has reached the server."""
        await self._waiting.join()

    async def run(self) -> None:
        """Tell what is to be told, and give signs of life between."""
        while True:
            report: dict[str, Any] = {}
            taken = False
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    report = await self._waiting.get()
                taken = True
            except TimeoutError:
                pass
            try:
                await self._tell(report)
            finally:
                if taken:
                    self._waiting.task_done()

    async def _tell(self, report: dict[str, Any]) -> None:
        data = {"run_id": self._facts.run_id, "session_id": self._facts.session_id, **report}
        try:
            await self._bus.command("agent_report", data)
        except CommandRefused as refused:
            log.warning("a report of run %s was refused (%s): %s", self._facts.run_id, refused, sorted(report))
            if refused.details.get("reason") == GIVEN_AWAY:
                self._given_away()
            elif refused.code in ("invalid", "too_large") and len(report) > 1:
                # Whatever is wrong with the rest, the state must be known.
                known: dict[str, Any] = {
                    name: report[name] for name in ("state", "exit_code", "control_id") if name in report
                }
                if known != report:
                    if "control_id" in known:
                        known["control_error"] = "the answer could not be told"
                    await self._tell(known)


def label(text: str) -> str:
    """A text as a cause or an error: one line, not too long."""
    # A file's name may be no text.
    line = " ".join(text.encode(errors="replace").decode().replace("\x00", "�").split())
    return line if len(line) <= MAX_LABEL else f"{line[: MAX_LABEL - 2]} …"
