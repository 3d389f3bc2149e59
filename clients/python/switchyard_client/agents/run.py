"""One run: a process from its start to its end, its output, what is reported of it and what is asked of it."""

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from switchyard_client.agents.lines import Piece
from switchyard_client.agents.outbox import Outbox
from switchyard_client.agents.output import Output
from switchyard_client.agents.process import CannotStart, Plan, Process, start
from switchyard_client.agents.recipes import Reading, fitting, json_or_none
from switchyard_client.agents.reports import Facts, Reports, label
from switchyard_client.agents.tree import Tree, end_marked
from switchyard_client.agents.waiting import looks_like_prompt, reads_input
from switchyard_client.connection import Connection

_TICK = 0.2
# An unfinished line is handed out after so long a silence, and a process may be waiting for somebody after this one.
_FLUSH_AFTER = 0.1
_WAITING_AFTER = 1.0
# What a command leaves behind in the background has so long to write its last.
_LEFT_BEHIND_SECONDS = 0.5
KILL_GRACE = 10.0
_INPUT_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How a run ended. `given_away`: nobody wants to know its result any more."""

    state: str
    exit_code: int | None = None
    signal: str | None = None
    error: str | None = None
    cause: str | None = None
    given_away: bool = False
    # What it came to, when it completed, and why there is none though there should be.
    result: Any = None
    result_error: str | None = None
    # The runner ended it to stop in time itself.
    stopped: bool = False


class Run:
    """One process under control."""

    def __init__(
        self,
        bus: Connection,
        facts: Facts,
        plan: Plan,
        *,
        reading: Reading,
        timeout_s: float | None = None,
        spool_bytes: int = 64 * 1024 * 1024,
        spool_directory: Path | None = None,
        result_file: Path | None = None,
    ) -> None:
        """`result_file`: where the command may have put its result."""
        self.facts = facts
        self.state = "starting"
        self.reading = reading
        self._plan = plan
        self._timeout_s = timeout_s
        self._result_file = result_file
        self._reports = Reports(bus, facts, lambda: self.end_soon("given_away", "its task was given to another", 0))
        outbox = Outbox(spool_bytes, spool_directory)
        self._outbox = outbox
        self._output = Output(bus, facts.run_id, facts.session_id, outbox)
        self._process: Process | None = None
        self._tree: Tree | None = None
        self._began = self._heard = time.monotonic()
        self._flushed = True
        # Why it is being ended by us, and what to say of it.
        self._why: tuple[str, str] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._controls: set[str] = set()

    @property
    def lines(self) -> int:
        """How many lines it has written, and was sent."""
        return self._output.lines

    async def carry_out(self) -> Ending:
        """Run it to its end, and until all of it has been reported. Raises `CommandRefused` if there can be no run."""
        await self._reports.begin()
        reporting = asyncio.create_task(self._reports.run())
        sending = asyncio.create_task(self._output.run())
        try:
            ending = await self._live()
            if not ending.given_away:
                await self._output.sent()
            self._say_end(ending)
            await self._reports.told()
            return ending
        finally:
            reporting.cancel()
            sending.cancel()
            await asyncio.gather(reporting, sending, return_exceptions=True)
            self._outbox.close()

    def end_soon(self, why: str, text: str, grace: float = KILL_GRACE) -> None:
        """End the process and all of its descendants, for a reason: `killed`, `timeout`, `given_away`, `stopped`."""
        if self._why is None or why == "given_away":
            self._why = (why, text)
        task = asyncio.create_task(self._end(grace))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def control(self, event: dict[str, Any]) -> None:
        """Do what is asked of the run, once, and answer."""
        control_id = event["control_id"]
        now = datetime.now(UTC) - self._reports.ahead
        if control_id in self._controls or now > datetime.fromisoformat(event["expires"]):
            return
        self._controls.add(control_id)
        try:
            result = await self._do(event)
        except _CannotDo as reason:
            self._reports.say(control_id=control_id, control_error=label(str(reason)))
        else:
            self._reports.say(control_id=control_id, control_result=result)

    # What follows is the life of the process.

    async def _live(self) -> Ending:
        try:
            process = await start(self._plan)
        except CannotStart as error:
            return Ending("failed", exit_code=127, error=label(str(error)), cause="it could not be started")
        self._process = process
        self._tree = Tree(process.pid, self.facts.run_id)
        self._output.on_room = self._read_on
        self._output.listener = self._listen
        process.read_to(self._came)
        self._move("running", None, pid=process.pid)
        if self._why:
            self.end_soon(*self._why)
        watching = asyncio.create_task(self._watch())
        feeding = asyncio.create_task(self._feed())
        timing = asyncio.create_task(self._time_out())
        try:
            code = await process.wait()
            await self._last_words(process)
        finally:
            for task in (watching, feeding, timing):
                task.cancel()
            for task in (watching, feeding, timing, *self._endings):
                await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(end_marked, self._tree.members)
            process.close()
        self._output.finish()
        return self._judge(code)

    async def _last_words(self, process: Process) -> None:
        """Read what is left, also of descendants that have its outputs open; those end with it."""
        ended = False
        while True:
            try:
                async with asyncio.timeout(_LEFT_BEHIND_SECONDS):
                    await process.silent()
                return
            except TimeoutError:
                if self._output.full and not self._output.refused:
                    continue  # there is more to read, as soon as there is room
                if ended:
                    return
                assert self._tree is not None
                await asyncio.to_thread(end_marked, self._tree.members)
                ended = True

    def _came(self, stream: str, data: bytes) -> None:
        self._heard = time.monotonic()
        self._flushed = False
        self._output.add(stream, data)
        if self.state == "waiting_input" and data:
            self._move("running", "it went on writing")
        self._read_on()

    def _listen(self, stream: str, piece: Piece) -> None:
        self.reading.feed(stream, piece)
        if activities := self.reading.take_activities():
            self._reports.say(activities=activities, usage=self.reading.usage)

    def _read_on(self) -> None:
        if self._process is not None:
            self._process.reading(not self._output.full)

    async def _feed(self) -> None:
        """Give the process what it is to begin with."""
        assert self._process is not None
        with contextlib.suppress(BrokenPipeError):
            await self._process.write(self._plan.stdin or b"")
        if not self._plan.interactive:
            await self._process.end_input()

    async def _time_out(self) -> None:
        if self._timeout_s is not None:
            await asyncio.sleep(self._timeout_s)
            self.end_soon("timeout", f"it took longer than {self._timeout_s:g} s")

    async def _watch(self) -> None:
        """Hand out prompts, notice when somebody is waited for, and read on once there is room."""
        while True:
            await asyncio.sleep(_TICK)
            self._read_on()
            if self._output.refused and self._why is None:
                self.end_soon("refused", f"its output is refused: {self._output.refused}")
            if self._output.full:
                self._heard = time.monotonic()  # it is we who don't listen
            silence = time.monotonic() - self._heard
            waits = self.state == "running" and silence > _WAITING_AFTER and await self._waits_for_input()
            if silence > _FLUSH_AFTER and not self._flushed:
                self._flushed = True
                self._prompt = self._output.prompt()
                self._output.flush()
            if waits and self.state == "running":
                self._move("waiting_input", "it reads its input and writes nothing")

    _prompt = b""

    async def _waits_for_input(self) -> bool:
        assert self._process is not None and self._tree is not None
        if not self._process.stdin_open or not self._plan.interactive:
            return False
        if looks_like_prompt(self._prompt):
            return True
        members = await asyncio.to_thread(self._tree.members)
        return bool(reads_input([each.pid for each in members], self._process.input_file()))

    async def _end(self, grace: float) -> None:
        if self._process is None or self._tree is None:
            return
        tree = self._tree
        await asyncio.to_thread(tree.signal, signal.SIGTERM)
        await asyncio.to_thread(tree.signal, signal.SIGCONT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._process.wait()
        await asyncio.to_thread(end_marked, tree.members)

    def _judge(self, code: int) -> Ending:
        name = _signal_name(-code) if code < 0 else None
        exit_code = code if code >= 0 else 128 - code
        if self._why is not None:
            why, text = self._why
            state = "killed" if why in ("killed", "given_away", "stopped") else "failed"
            return Ending(
                state, exit_code, name, error=text, cause=text, given_away=why == "given_away", stopped=why == "stopped"
            )
        if name:
            return Ending("failed", exit_code, name, error=f"it was ended by {name}", cause=f"ended by {name}")
        if code:
            said = self.reading.last_error
            return Ending("failed", code, error=label(f"exit code {code}" + (f": {said}" if said else "")))
        if self.reading.failure:
            return Ending("failed", code, error=label(self.reading.failure))
        result, fault = fitting(self._result())
        return Ending("completed", 0, result=result, result_error=fault)

    def _result(self) -> Any:
        """What the command has written into its result file, else what is read out of its output."""
        if self._result_file is not None:
            with contextlib.suppress(OSError):
                if text := self._result_file.read_bytes().strip():
                    found = json_or_none(text)
                    return text.decode(errors="replace") if found is None else found
        return self.reading.result()

    def _move(self, state: str, cause: str | None, **more: Any) -> None:
        self.state = state
        self._reports.say(state=state, cause=cause, **more)

    def _say_end(self, ending: Ending) -> None:
        self.state = ending.state
        self._reports.say(
            state=ending.state,
            cause=ending.cause,
            exit_code=ending.exit_code,
            signal=ending.signal,
            error=ending.error,
            lines_given=self._output.lines,
            usage=self.reading.usage,
            result=ending.result,
        )

    # What follows is what can be asked of it.

    async def _do(self, event: dict[str, Any]) -> dict[str, Any]:
        action = event["action"]
        if action == "get_state":
            return await self._look()
        if self._process is None or self._tree is None or self.state in ("completed", "failed", "killed"):
            raise _CannotDo(f"the run is {self.state}: there is no process to {action}")
        match action:
            case "pause":
                await asyncio.to_thread(self._tree.signal, signal.SIGSTOP)
                self._move("paused", label(event.get("reason") or f"asked for by {event.get('sender_agent_id')}"))
            case "resume":
                if self.state != "paused":
                    raise _CannotDo(f"it is not paused but {self.state}")
                self._heard = time.monotonic()
                self._move("running", label(event.get("reason") or f"asked for by {event.get('sender_agent_id')}"))
                await asyncio.to_thread(self._tree.signal, signal.SIGCONT)
            case "send_input":
                await self._send_input(event.get("input") or "", end=bool(event.get("end_input")))
            case "kill":
                text = event.get("reason") or f"killed by {event.get('sender_agent_id')}"
                self.end_soon("killed", label(text), float(event.get("grace_s", KILL_GRACE)))
                return {"state": self.state, "signal": "SIGTERM"}
            case _:
                raise _CannotDo(f"this runner knows no {action}")
        return {"state": self.state}

    async def _send_input(self, text: str, *, end: bool) -> None:
        assert self._process is not None
        if not self._process.stdin_open or not self._plan.interactive:
            raise _CannotDo("its input is closed: start it with --interactive or --pty")
        self._prompt = b""
        self._heard = time.monotonic()
        if self.state == "waiting_input":
            self._move("running", "it was sent input")
        try:
            async with asyncio.timeout(_INPUT_SECONDS):
                await self._process.write(text.encode())
                if end:
                    await self._process.end_input()
        except TimeoutError:
            raise _CannotDo(f"it has not read its input within {_INPUT_SECONDS:g} s") from None
        except BrokenPipeError:
            raise _CannotDo("its input is closed") from None
        self._output.add("input", text.encode())
        self._flushed = False

    async def _look(self) -> dict[str, Any]:
        alive = self._tree is not None and self.state not in ("completed", "failed", "killed")
        use = await asyncio.to_thread(self._tree.use) if alive and self._tree else None
        return {
            "source": "runner",
            "state": self.state,
            "pid": self._process.pid if self._process else None,
            "runtime_s": round(time.monotonic() - self._began, 3),
            "lines": self._output.lines,
            "bytes": self._output.bytes,
            "last_output": list(self._output.last),
            "heard": f"{datetime.now(UTC) - self._reports.ahead:%Y-%m-%dT%H:%M:%S.%fZ}",
            "cpu_percent": use.cpu_percent if use else 0.0,
            "memory_bytes": use.memory_bytes if use else 0,
            "processes": use.processes if use else 0,
        }


class _CannotDo(Exception):
    """What is asked can't be done; the text says why."""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
