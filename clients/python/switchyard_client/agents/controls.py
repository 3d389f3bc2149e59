"""What can be asked of a run: to show its state, to pause and go on, to take input, to end."""

import asyncio
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from switchyard_client.agents.reports import label

if TYPE_CHECKING:
    from switchyard_client.agents.run import Run

KILL_GRACE = 10.0
_INPUT_SECONDS = 10.0


class CannotDo(Exception):
    """What is asked can't be done; the text says why."""


class Controls:
    """What is asked of one run, each request obeyed once and answered."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._obeyed: set[str] = set()

    async def obey(self, event: dict[str, Any]) -> None:
        """Do what an `agent_control_asked` says, unless it was done before or comes too late."""
        control_id = event["control_id"]
        now = datetime.now(UTC) - self._run.reports.ahead
        if control_id in self._obeyed or now > datetime.fromisoformat(event["expires"]):
            return
        self._obeyed.add(control_id)
        try:
            result = await self._do(event)
        except CannotDo as reason:
            self._run.reports.say(control_id=control_id, control_error=label(str(reason)))
        else:
            self._run.reports.say(control_id=control_id, control_result=result)

    async def _do(self, event: dict[str, Any]) -> dict[str, Any]:
        action = event["action"]
        if action == "get_state":
            return await self._look()
        if self._run.process is None or self._run.tree is None or self._run.state in ("completed", "failed", "killed"):
            raise CannotDo(f"the run is {self._run.state}: there is no process to {action}")
        match action:
            case "pause":
                await asyncio.to_thread(self._run.tree.signal, signal.SIGSTOP)
                self._run.move("paused", label(event.get("reason") or f"asked for by {event.get('sender_agent_id')}"))
            case "resume":
                if self._run.state != "paused":
                    raise CannotDo(f"it is not paused but {self._run.state}")
                self._run.move("running", label(event.get("reason") or f"asked for by {event.get('sender_agent_id')}"))
                await asyncio.to_thread(self._run.tree.signal, signal.SIGCONT)
            case "send_input":
                await self._send_input(event.get("input") or "", end=bool(event.get("end_input")))
            case "kill":
                text = event.get("reason") or f"killed by {event.get('sender_agent_id')}"
                self._run.end_soon("killed", label(text), float(event.get("grace_s", KILL_GRACE)))
                return {"state": self._run.state, "signal": "SIGTERM"}
            case _:
                raise CannotDo(f"this runner knows no {action}")
        return {"state": self._run.state}

    async def _send_input(self, text: str, *, end: bool) -> None:
        assert self._run.process is not None
        if not self._run.process.stdin_open or not self._run.plan.interactive:
            raise CannotDo("its input is closed: start it with --interactive or --pty")
        if self._run.state == "waiting_input":
            self._run.move("running", "it was sent input")
        try:
            async with asyncio.timeout(_INPUT_SECONDS):
                await self._run.process.write(text.encode())
                if end:
                    await self._run.process.end_input()
        except TimeoutError:
            raise CannotDo(f"it has not read its input within {_INPUT_SECONDS:g} s") from None
        except BrokenPipeError:
            raise CannotDo("its input is closed") from None
        self._run.was_sent(text.encode())

    async def _look(self) -> dict[str, Any]:
        alive = self._run.tree is not None and self._run.state not in ("completed", "failed", "killed")
        use = await asyncio.to_thread(self._run.tree.use) if alive and self._run.tree else None
        return {
            "source": "runner",
            "state": self._run.state,
            "pid": self._run.process.pid if self._run.process else None,
            "runtime_s": round(time.monotonic() - self._run.began, 3),
            "lines": self._run.output.lines,
            "bytes": self._run.output.bytes,
            "last_output": list(self._run.output.last),
            "heard": f"{datetime.now(UTC) - self._run.reports.ahead:%Y-%m-%dT%H:%M:%S.%fZ}",
            "cpu_percent": use.cpu_percent if use else 0.0,
            "memory_bytes": use.memory_bytes if use else 0,
            "processes": use.processes if use else 0,
        }
