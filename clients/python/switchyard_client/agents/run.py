"""One run: a process from its start to its end, its output, what is reported of it and what is asked of it."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from switchyard_client.agents.controls import Controls
from switchyard_client.agents.endings import Ending, judge
from switchyard_client.agents.lines import Piece
from switchyard_client.agents.outbox import Outbox
from switchyard_client.agents.output import Output
from switchyard_client.agents.process import CannotStart, Plan, Process, start
from switchyard_client.agents.recipes import Reading
from switchyard_client.agents.reports import Facts, Reports, label
from switchyard_client.agents.tree import Tree, end_marked
from switchyard_client.agents.waiting import looks_like_prompt, reads_input
from switchyard_client.connection import Connection

_TICK = 0.2
# An unfinished line is handed out after so long a silence, and a process may be waiting for somebody after this one.
_FLUSH_AFTER = 0.1
_WAITING_AFTER = 1.0
# A look at the processes goes through all of the machine's: for this many times what it took there is no other.
_LOOK_SHARE = 20
# What a command leaves behind in the background has so long to write its last.
_LEFT_BEHIND_SECONDS = 0.5
# While its output is held up it has longer, and then ends all the same.
_HELD_UP_SECONDS = 5.0
# What two pipes may hold at most.
_IN_PIPES = 2 * 1024 * 1024
KILL_GRACE = 10.0

log = logging.getLogger(__name__)


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
        self.plan = plan
        self._timeout_s = timeout_s
        self._result_file = result_file
        self.reports = Reports(bus, facts, lambda: self.end_soon("given_away", "its task was given to another", 0))
        outbox = Outbox(spool_bytes, spool_directory)
        self._outbox = outbox
        self.output = Output(bus, facts.run_id, facts.session_id, outbox)
        self.process: Process | None = None
        self.tree: Tree | None = None
        self.began = self._heard = time.monotonic()
        self._flushed = True
        self._look_again = 0.0
        self._prompt = b""
        # Why it is being ended by us, and what to say of it.
        self._why: tuple[str, str] | None = None
        # Whether the server knows of the run, how its process has ended, and whether the server knows that as well.
        self.is_begun = False
        self.ending: Ending | None = None
        self._is_told = False
        self._endings: set[asyncio.Task[None]] = set()
        self._controls = Controls(self)

    @property
    def lines(self) -> int:
        """How many lines it has written, and was sent."""
        return self.output.lines

    @property
    def untold(self) -> str | None:
        """What of it has not reached the server, in words; None when all of it has."""
        if self._is_told:
            return None
        end = f"its end ({self.ending.told})" if self.ending else "its end"
        return f"{len(self._outbox)} of its {self.lines} lines and {end}" if len(self._outbox) else end

    async def carry_out(self) -> Ending:
        """Run it to its end, and until all of it has been reported. Raises `CommandRefused` if there can be no run."""
        await self.reports.begin()
        self.is_begun = True
        telling = {asyncio.create_task(self.reports.run()), asyncio.create_task(self.output.run())}
        for each in telling:
            each.add_done_callback(self._cannot_tell)
        try:
            ending = self.ending = await self._live()
            if not ending.given_away:
                await _unless_ended(self.output.sent(), telling)
            self._say_end(ending)
            await _unless_ended(self.reports.told(), telling)
            self._is_told = True
            return ending
        finally:
            for each in telling:
                each.cancel()
            await asyncio.gather(*telling, return_exceptions=True)
            self._outbox.close()

    def _cannot_tell(self, task: asyncio.Task[None]) -> None:
        """Nothing can be reported any more, as when the token was revoked: then nothing is to go on here, either."""
        if not task.cancelled() and task.exception() is not None:
            self.end_soon("given_away", f"nothing can be reported: {task.exception()}", 5.0)

    def end_soon(self, why: str, text: str, grace: float = KILL_GRACE) -> None:
        """End the process and all of its descendants, for a reason: `killed`, `timeout`, `given_away`, `stopped`."""
        if self._why is None or why == "given_away":
            self._why = (why, text)
        task = asyncio.create_task(self._end(grace))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def was_sent(self, data: bytes) -> None:
        """Its input was written to."""
        self._heard = time.monotonic()
        self._prompt, self._flushed = b"", False
        self.output.add("input", data)

    async def control(self, event: dict[str, Any]) -> None:
        """Do what is asked of the run, once, and answer."""
        await self._controls.obey(event)

    # What follows is the life of the process.

    async def _live(self) -> Ending:
        try:
            process = await start(self.plan)
        except CannotStart as error:
            return Ending("failed", exit_code=127, error=label(str(error)), cause="it could not be started")
        self.process = process
        self.tree = Tree(process.pid, self.facts.run_id)
        self.output.on_room = self._read_on
        self.output.listener = self._listen
        process.read_to(self._came)
        self.move("running", None, pid=process.pid)
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
            await asyncio.to_thread(end_marked, self.tree.members)
            process.close()
        self.output.finish()
        return judge(code, self._why, self.reading, self._result_file)

    async def _last_words(self, process: Process) -> None:
        """Read what is left, also of descendants that have its outputs open; those end soon after it."""
        patience = time.monotonic() + _HELD_UP_SECONDS
        # Up to how many bytes in all something may come of processes that are gone; None while they are not.
        limit: int | None = None
        while True:
            before = self.output.bytes
            try:
                async with asyncio.timeout(_LEFT_BEHIND_SECONDS):
                    await process.silent()
                return
            except TimeoutError:
                held_up = not self.output.refused and (self.output.full or not process.is_read)
                if limit is not None:
                    if (held_up or self.output.bytes > before) and self.output.bytes < limit:
                        continue  # there is more to read
                    return
                if held_up and time.monotonic() < patience:
                    continue
                assert self.tree is not None
                await asyncio.to_thread(end_marked, self.tree.members)
                limit = self.output.bytes + _IN_PIPES

    def _came(self, stream: str, data: bytes) -> None:
        self._heard = time.monotonic()
        self._flushed = False
        self.output.add(stream, data)
        if self.state == "waiting_input" and data:
            self.move("running", "it went on writing")
        self._read_on()

    def _listen(self, stream: str, piece: Piece) -> None:
        self.reading.feed(stream, piece)
        if activities := self.reading.take_activities():
            self.reports.say(activities=activities, usage=self.reading.usage)

    def _read_on(self) -> None:
        if self.process is not None:
            self.process.reading(not self.output.full)

    async def _feed(self) -> None:
        """Give the process what it is to begin with."""
        assert self.process is not None
        with contextlib.suppress(BrokenPipeError):
            await self.process.write(self.plan.stdin or b"")
        if not self.plan.interactive:
            await self.process.end_input()

    async def _time_out(self) -> None:
        if self._timeout_s is not None:
            await asyncio.sleep(self._timeout_s)
            self.end_soon("timeout", f"it took longer than {self._timeout_s:g} s")

    async def _watch(self) -> None:
        """Hand out prompts, notice when somebody is waited for, and read on once there is room."""
        while True:
            await asyncio.sleep(_TICK)
            self._read_on()
            if self.output.refused and self._why is None:
                self.end_soon("refused", f"its output is refused: {self.output.refused}")
            if self.output.full:
                self._heard = time.monotonic()  # it is we who don't listen
            silence = time.monotonic() - self._heard
            waits = self.state == "running" and silence > _WAITING_AFTER and await self._waits_for_input()
            if silence > _FLUSH_AFTER and not self._flushed:
                self._flushed = True
                self._prompt = self.output.prompt()
                self.output.flush()
            if waits and self.state == "running":
                self.move("waiting_input", "it reads its input and writes nothing")

    async def _waits_for_input(self) -> bool:
        assert self.process is not None and self.tree is not None
        if not self.process.stdin_open or not self.plan.interactive:
            return False
        if looks_like_prompt(self._prompt):
            return True
        began = time.monotonic()
        if began < self._look_again:
            return False
        members = await asyncio.to_thread(self.tree.members)
        self._look_again = began + _LOOK_SHARE * (time.monotonic() - began)
        return bool(reads_input([each.pid for each in members], self.process.input_file()))

    async def _end(self, grace: float) -> None:
        if self.process is None or self.tree is None:
            return
        tree = self.tree
        await asyncio.to_thread(tree.signal, signal.SIGTERM)
        await asyncio.to_thread(tree.signal, signal.SIGCONT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.process.wait()
        await asyncio.to_thread(end_marked, tree.members)

    def move(self, state: str, cause: str | None, **more: Any) -> None:
        """Be in another state, and say so."""
        self.state = state
        self.reports.say(state=state, cause=cause, **more)

    def _say_end(self, ending: Ending) -> None:
        self.state = ending.state
        self.reports.say(
            state=ending.state,
            cause=ending.cause,
            exit_code=ending.exit_code,
            signal=ending.signal,
            error=ending.error,
            lines_given=self.output.lines,
            usage=self.reading.usage,
            result=ending.result,
        )


async def _unless_ended(waiting: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """Wait for something that these tasks do; should one of them fail, its error is raised."""
    task = asyncio.create_task(waiting)
    done, _ = await asyncio.wait({task, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if task not in done:
        task.cancel()
        done.pop().result()
