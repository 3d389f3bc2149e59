"""An agent's tasks as who does them deals with them: claimed, kept by heartbeats, reported on."""

import asyncio
import logging
import time
from typing import Any

from switchyard_client.agents.endings import Ending
from switchyard_client.agents.options import Options
from switchyard_client.agents.reports import label
from switchyard_client.agents.run import Run
from switchyard_client.connection import Connection
from switchyard_client.errors import CommandRefused

# A waiting claim is asked for so long. A runner that stops leaves it: a task it is given after that lapses.
_CLAIM_SECONDS = 5.0
LEASE_SECONDS = 60.0
_GIVE_BACK_SECONDS = 2.0
_BEAT_SECONDS = 15.0
# Before the lease ends for others, it has ended for us.
_MARGIN_SECONDS = 2.0

log = logging.getLogger(__name__)


class TaskQueue:
    """The tasks of one agent."""

    def __init__(self, bus: Connection, options: Options) -> None:
        self._bus = bus
        self._options = options

    async def claim(self, count: int) -> list[dict[str, Any]]:
        """Up to so many tasks, perhaps none after a while; `held_until` is when each lease ends, by our clock."""
        options = self._options
        data: dict[str, Any] = {
            "agent_name": options.agent_name,
            "worker_id": options.worker_id,
            "count": min(count, 50),
            "wait_s": _CLAIM_SECONDS,
        }
        if options.capabilities:
            data["capabilities"] = list(options.capabilities)
        began = time.monotonic()
        # Until it has an answer, tasks may be ours that we know nothing of.
        claimed: list[dict[str, Any]] = (await self._bus.command("claim_task", data))["tasks"]
        for task in claimed:
            task["held_until"] = began + LEASE_SECONDS
        return claimed

    async def give_back(self, tasks: list[dict[str, Any]], why: str) -> None:
        """Let others try tasks that were claimed and not begun; where that takes too long, their leases lapse."""
        leases = [{name: task[name] for name in ("task_id", "lease_token", "session_id")} for task in tasks]
        failing = [self.settle("fail_task", {**lease, "error_message": why, "retry": True}) for lease in leases]
        try:
            async with asyncio.timeout(_GIVE_BACK_SECONDS):
                await asyncio.gather(*failing)
        except TimeoutError:
            log.warning("%d tasks could not be given back: their leases lapse within 60 s", len(tasks))

    async def keep(self, run: Run, lease: dict[str, Any], held_until: float) -> None:
        """Keep the lease of a run's task; without it, another may be at work on it already: the process is ended."""
        while True:
            spare = held_until - time.monotonic() - (LEASE_SECONDS - 2 * _BEAT_SECONDS)
            await asyncio.sleep(min(_BEAT_SECONDS, max(0.0, spare)))
            asked = time.monotonic()
            try:
                left = held_until - _MARGIN_SECONDS - asked
                await self._bus.command("heartbeat_task", lease, timeout=max(left, _MARGIN_SECONDS))
                held_until = asked + LEASE_SECONDS
            except TimeoutError:
                run.end_soon("given_away", "its lease could not be kept: the server was away for too long", 2.0)
                return
            except CommandRefused as refused:
                run.end_soon("given_away", label(refused.message), 2.0)
                return

    async def report(self, lease: dict[str, Any], ending: Ending, run_id: str, lines: int, seconds: float) -> None:
        """Report on a task. Killed on purpose it is not tried again; when the runner stops, it is given back."""
        if ending.state == "completed":
            output = {
                "exit_code": ending.exit_code,
                "result": ending.result,
                "run_id": run_id,
                "lines": lines,
                "duration_s": round(seconds, 3),
            }
            if ending.result_error:
                output["result_error"] = ending.result_error
            refused = await self.settle("complete_task", {**lease, "output_data": output})
            if refused is not None and refused.code in ("invalid", "too_large"):
                output |= {"result": None, "result_error": label(str(refused))}
                await self.settle("complete_task", {**lease, "output_data": output})
            return
        retry = ending.state != "killed" or ending.stopped
        error = ending.error or f"the run {run_id} is {ending.state}"
        await self.settle("fail_task", {**lease, "error_message": error, "retry": retry})

    async def settle(self, command: str, data: dict[str, Any]) -> CommandRefused | None:
        """Say how something ended; a refusal is noted, and returned."""
        try:
            await self._bus.command(command, data)
        except CommandRefused as refused:
            log.warning("%s was refused: %s", command, refused)
            return refused
        return None
