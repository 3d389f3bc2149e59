"""A runner: claims an agent's tasks, has a command do each, keeps their leases, and reports what came of them."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from switchyard_client.agents.endings import Ending
from switchyard_client.agents.options import Options
from switchyard_client.agents.process import CannotStart, Plan
from switchyard_client.agents.reports import Facts, label
from switchyard_client.agents.run import Run
from switchyard_client.agents.stopping import TOLD_TO_STOP, InHand, LeftUntold, Stopping
from switchyard_client.agents.surroundings import environment, make_folders, remove_folders
from switchyard_client.agents.tasks import TaskQueue
from switchyard_client.agents.warden import Warden
from switchyard_client.connection import Connection
from switchyard_client.errors import CommandRefused, SwitchyardError

_RESTART_PAUSE, _LONGEST_RESTART_PAUSE = 1.0, 60.0
_WELL_AFTER = 30.0

log = logging.getLogger(__name__)

Say = Callable[[str], None]
T = TypeVar("T")


class Runner:
    """One runner on one connection."""

    def __init__(self, bus: Connection, options: Options, say: Say = lambda text: None) -> None:
        """`say` is told, in a sentence, what a person at the terminal wants to know."""
        self._bus = bus
        self._say = say
        self._options = replace(options, worker_id=options.worker_id or f"{socket.gethostname()}-{os.getpid()}")
        self._tasks = TaskQueue(bus, self._options)
        self._runner_id = str(uuid4())
        self._runs: dict[str, Run] = {}
        self._stopping = Stopping(bus, options.grace_s, say)
        self._in_hand: dict[asyncio.Task[Any], InHand] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """Take no more tasks, let those in hand end within the grace, and give back the others."""
        self._stopping.set()

    async def work(self) -> None:
        """Do tasks until told to stop, or as many as were asked for.

        Raises `CommandRefused`, `ConnectionRefused`; `LeftUntold` when told to stop while the gateway was away.
        """
        async with self._ready():
            hands = asyncio.Semaphore(self._options.concurrency)
            left = self._options.count
            while not self._stopping.is_set() and left != 0:
                await self._stopping.unless_set(hands.acquire())
                if self._stopping.is_set():
                    break
                hands.release()
                free = self._options.concurrency - len(self._in_hand)
                claiming = self._tasks.claim(free if left is None else min(free, left))
                claimed = await self._stopping.unless_set(claiming) or []
                if self._stopping.is_set():
                    await self._tasks.give_back(claimed, TOLD_TO_STOP)
                    break
                for task in claimed:
                    left = left if left is None else left - 1
                    await hands.acquire()
                    hand = InHand(task["task_id"])
                    self._take(self._do(task, hand), hand).add_done_callback(lambda _: hands.release())
            await self._stopping.finish(self._in_hand)

    async def once(self) -> Ending:
        """Run the command by itself, as a session of its own, and again as the restart policy has it.

        Raises `CommandRefused`, `ConnectionRefused`; `LeftUntold` when told to stop while the gateway was away.
        """
        async with self._ready():
            pause = _RESTART_PAUSE
            if self._stopping.is_set():
                raise LeftUntold(f"told to stop before the gateway at {self._bus.url} let it in: no run was begun")
            while True:
                began = time.monotonic()
                hand = InHand()
                doing = self._take(self._single(hand), hand)
                await self._stopping.finish({doing: hand})
                ending = await doing
                again = self._options.restart == "always" or (
                    self._options.restart == "on-failure" and ending.state == "failed"
                )
                if not again or ending.state == "killed" or self._stopping.is_set():
                    return ending
                pause = _RESTART_PAUSE if time.monotonic() - began > _WELL_AFTER else pause
                self._say(f"it is {ending.state}; starting it again in {pause:g} s")
                await self._stopping.unless_set(asyncio.sleep(pause))
                pause = min(pause * 2, _LONGEST_RESTART_PAUSE)
                if self._stopping.is_set():
                    return ending

    # What follows is the runner's own life.

    @contextlib.asynccontextmanager
    async def _ready(self) -> Any:
        warden = Warden(self._runner_id)
        listening: asyncio.Task[None] | None = None
        try:
            await self._stopping.unless_set(self._tune_in())
            if not self._stopping.is_set():
                listening = asyncio.create_task(self._listen())
            yield
        finally:
            rest = [*self._background, *([listening] if listening else [])]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await asyncio.to_thread(warden.dismiss)

    async def _tune_in(self) -> None:
        await self._bus.open()
        self._say(f"connected to {self._bus.url} as {self._bus.hello.get('agent_id')}")
        await self._bus.subscribe(f"agent.{_topic_word(self._options.agent_name)}.control")
        # A token for certain topics may not hear this; then the next heartbeat tells.
        with contextlib.suppress(CommandRefused):
            await self._bus.subscribe("task.*.cancelled")

    async def _listen(self) -> None:
        async for event in self._bus.events():
            if event["type"] == "agent_control_asked":
                if run := self._runs.get(event["run_id"]):
                    self._in_background(run.control(event))
            elif event["type"] == "task_cancelled":
                for run in list(self._runs.values()):
                    if run.facts.task_id == event["task"]["task_id"]:
                        run.end_soon("given_away", "its task was cancelled", 5.0)

    def _take(self, work: Coroutine[Any, Any, T], hand: InHand) -> asyncio.Task[T]:
        doing = asyncio.create_task(work)
        self._in_hand[doing] = hand
        doing.add_done_callback(self._in_hand.pop)
        return doing

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # What follows is about one run.

    async def _single(self, hand: InHand) -> Ending:
        run_id = str(uuid4())
        name = _name(self._options.agent_name)
        session = {"session_id": run_id, "title": self._options.title or name}
        await self._bus.command("create_session", session)
        ending = await self._run(run_id, name, run_id, None, hand)
        command, more = ("complete_session", {}) if ending.state == "completed" else ("fail_session", {})
        if command == "fail_session":
            # Not its error: that may hold what it wrote, and only where its run is kept secrets are masked.
            more = {"reason": ending.cause or f"its run {run_id} is {ending.state}, exit code {ending.exit_code}"}
        await self._tasks.settle(command, {"session_id": run_id, **more})
        return ending

    async def _do(self, task: dict[str, Any], hand: InHand) -> None:
        """Do one task, to the report of what came of it."""
        try:
            await self._attempt(task, hand)
        except SwitchyardError as error:
            log.error("task %s could not be done: %s", task["task_id"], error)
        except Exception:
            # The others in hand go on; this one's lease lapses.
            log.exception("task %s could not be done", task["task_id"])

    async def _attempt(self, task: dict[str, Any], hand: InHand) -> None:
        lease = {name: task[name] for name in ("task_id", "lease_token", "session_id")}
        held_until = task.pop("held_until")
        del task["lease_token"], task["lease_expires"]
        self._say(f"task {task['task_id']}: {task['description'] or task['task_type']}")
        try:
            await self._bus.command("start_task", lease)
        except CommandRefused as refused:
            self._say(f"task {task['task_id']} is not ours any more: {refused.message}")
            return
        beat: list[asyncio.Task[None]] = []

        def begin(run: Run) -> None:
            beat.append(asyncio.create_task(self._tasks.keep(run, lease, held_until)))

        try:
            name = _name(self._options.agent_name)
            ending = await self._run(str(uuid4()), name, task["session_id"], task, hand, begin, lease)
        finally:
            for each in beat:
                each.cancel()
        self._say(f"task {task['task_id']} is {ending.told}")

    async def _run(
        self,
        run_id: str,
        name: str,
        session_id: str,
        task: dict[str, Any] | None,
        hand: InHand,
        begin: Callable[[Run], None] = lambda run: None,
        lease: dict[str, Any] | None = None,
    ) -> Ending:
        """One run from start to end, and the report on its task if it has one."""
        options = self._options
        words = options.recipe.words(options.command)
        facts = Facts(
            run_id=run_id,
            name=name,
            agent_name=options.agent_name,
            session_id=session_id,
            worker_id=options.worker_id,
            command=label(Path(words[0]).name),
            recipe=None if options.recipe.name == "shell" else options.recipe.name,
            task_id=task["task_id"] if task else None,
            attempt=task["attempt"] if task else None,
        )
        folders = None
        began = time.monotonic()
        try:
            piece = f"{task['task_id']}-{task['attempt']}" if task else None
            folders = await make_folders(name, options.workdir, options.repository, piece)
            variables = environment(
                [*options.recipe.environment, *options.allowed],
                run_id=run_id,
                runner_id=self._runner_id,
                session_id=session_id,
                agent_name=options.agent_name,
                folders=folders,
                task=task,
                further=options.recipe.set_environment,
            )
            keeps_open = options.terminal or (task is None and not options.recipe.prompted)
            plan = Plan(
                words,
                variables,
                folders.working,
                terminal=options.terminal,
                stdin=None if keeps_open or task is None else options.recipe.stdin(task),
                interactive=options.interactive or keeps_open,
            )
            run = Run(
                self._bus,
                facts,
                plan,
                reading=options.recipe.reading(),
                timeout_s=options.timeout_s,
                spool_bytes=options.spool_bytes,
                result_file=folders.result,
            )
            self._runs[run_id] = hand.run = run
            begin(run)
            ending = await run.carry_out()
            lines = run.lines
        except CannotStart as error:
            ending, lines = Ending("failed", error=label(str(error))), 0
        except CommandRefused as refused:
            ending, lines = Ending("failed", error=label(f"the run was refused: {refused}")), 0
        finally:
            self._runs.pop(run_id, None)
            if folders is not None:
                await remove_folders(folders)
        if lease is not None and not ending.given_away:
            await self._tasks.report(lease, ending, run_id, lines, time.monotonic() - began)
        return ending


def _name(agent_name: str) -> str:
    return f"{agent_name}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"


def _topic_word(text: str) -> str:
    """An agent's name as it stands in topics."""
    return "".join("_" if each in ".*# " else each for each in text)
