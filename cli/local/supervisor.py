"""Keeps child processes running: one thread starts them, reads their logs, and starts them again when they crash."""

import os
import queue
import re
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from cli.local.processes import kill_tree, spawn, terminate

T = TypeVar("T")

FIRST_BACKOFF = 0.25
LONGEST_BACKOFF = 10.0
# Alive for so long, a child is well again: its next crash starts the backoff anew.
WELL_AFTER = 30.0
# Who ends with exit code 0 after so long was ordered to, and is started again at once.
ORDERLY_AFTER = 1.0

_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


# Takes one line of the merged log: who wrote it, and what.
Sink = Callable[[str, str], None]


class Server(Protocol):
    """A server that looks after its own process; the supervisor starts it again when it crashed."""

    @property
    def crashed(self) -> bool:
        """True when it ended though nobody asked it to."""

    def launch(self) -> None:
        """Start it without waiting."""


@dataclass
class Child:
    """One supervised process. `kill` is a crash like any other, after which it is started again; `stop` is for good."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    restarts: int = 0
    # How often in a row it has ended with an error soon after it was started.
    falls: int = 0
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    _process: subprocess.Popen[bytes] | None = None
    _wanted: bool = False
    _backoff: float = FIRST_BACKOFF
    _next_start: float = 0.0
    _started: float = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self.pid is not None

    @property
    def returncode(self) -> int | None:
        """How the last process ended; None while it runs, or before it was started."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Ask for it to run; it is started within a moment."""
        self._next_start = 0.0
        self._wanted = True

    def stop(self, seconds: float = 15) -> bool:
        """SIGTERM, SIGKILL after `seconds`, and no restart; True when it went by itself."""
        self._wanted = False
        gone = self._process is None or terminate(self._process, (signal.SIGTERM, seconds))
        self._started = 0.0
        return gone

    def kill(self, *, restart: bool = True) -> None:
        """SIGKILL, as a crash would; started again after the backoff unless `restart` is False."""
        self._wanted = self._wanted and restart
        if self._process is not None:
            kill_tree(self._process)

    def signal(self, number: signal.Signals) -> None:
        """Send any signal, such as SIGSTOP and SIGCONT."""
        if self._process is not None:
            self._process.send_signal(number)


class Supervisor:
    """The thread behind the children, which it kills when it ends."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._children: dict[str, Child] = {}
        self._servers: dict[str, tuple[Server, list[float]]] = {}
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._rests: dict[int, bytes] = {}
        self._done = False
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Kill the children that still run, read what they wrote last, and end the thread."""
        if self._thread.is_alive():
            self._tasks.put(self._finish)
            self._wake()
            self._thread.join()

    def call(self, function: Callable[[], T]) -> T:
        """The result of a function run in the thread, which alone touches the children's list."""
        future: Future[T] = Future()

        def task() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)

        self._tasks.put(task)
        self._wake()
        return future.result()

    def add(self, child: Child) -> None:
        """Look after a child from now on; started when `child.start()` asks for it."""
        self.call(lambda: self._children.update({child.name: child}))

    def watch(self, name: str, server: Server) -> None:
        """Start a server again whenever it crashed."""
        self.call(lambda: self._servers.update({name: (server, [FIRST_BACKOFF, 0.0])}))

    def unwatch(self) -> None:
        """Leave the servers alone, as before stopping them."""
        self.call(self._servers.clear)

    def say(self, text: str) -> None:
        """Put a line of our own into the log."""
        self._sink("switchyard", text)

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b"!")
        except BlockingIOError:
            return  # it has been woken often enough

    def _finish(self) -> None:
        self._done = True

    def _run(self) -> None:
        while not self._done:
            self._reconcile()
            for key, _ in self._selector.select(0.1):
                if key.fd == self._wake_reader:
                    os.read(self._wake_reader, 4096)
                elif key.fd in self._rests:
                    self._read(key.fd, key.data)
            while not self._tasks.empty():
                self._tasks.get()()
        for child in self._children.values():
            child.kill(restart=False)
        for key in list(self._selector.get_map().values()):
            if key.fd != self._wake_reader:
                self._read(key.fd, key.data)
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _reconcile(self) -> None:
        """Start what is wanted and does not run; say so when that is because it crashed."""
        now = time.monotonic()
        for child in self._children.values():
            if child.running:
                continue
            if child._process is not None and child._started:
                self._ended(child, now)
            if child._wanted and now >= child._next_start:
                self._launch(child, now)
        for name, (server, pause) in self._servers.items():
            if server.crashed and now >= pause[1]:
                self.say(f"{name} crashed; starting it again")
                pause[0], pause[1] = min(pause[0] * 2, LONGEST_BACKOFF), now + pause[0]
                server.launch()

    def _ended(self, child: Child, now: float) -> None:
        lived = now - child._started
        child._started = 0.0
        for descriptor in [key.fd for key in self._selector.get_map().values() if key.data is child]:
            while self._read(descriptor, child):  # its last words come before the news of its end
                pass
        if not child._wanted:
            return
        code = child.returncode or 0
        child.restarts += 1
        child.falls = child.falls + 1 if code > 0 and lived <= WELL_AFTER else 0
        if code == 0 and lived >= ORDERLY_AFTER:
            child._backoff, child._next_start = FIRST_BACKOFF, now
            self.say(f"{child.name} has ended as it was ordered to; starting it anew")
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        child._backoff = FIRST_BACKOFF if lived > WELL_AFTER else min(child._backoff * 2, LONGEST_BACKOFF)
        child._next_start = now + child._backoff
        self.say(f"{child.name} {how}; starting it again in {child._backoff:g} s")

    def _launch(self, child: Child, now: float) -> None:
        reader, writer = os.pipe()
        try:
            child._process = spawn(child.command, env=child.env, cwd=child.cwd, output=writer)
        except OSError as error:
            os.close(reader)
            child._next_start = now + LONGEST_BACKOFF
            self.say(f"{child.name} could not be started: {error}")
            return
        finally:
            os.close(writer)
        child._started = now
        os.set_blocking(reader, False)
        self._rests[reader] = b""
        self._selector.register(reader, selectors.EVENT_READ, child)

    def _read(self, descriptor: int, child: Child) -> bool:
        """Pass on the whole lines that have arrived, at the end of the pipe also the rest; False for "no more"."""
        try:
            data = os.read(descriptor, 256 * 1024)
        except BlockingIOError:
            return False
        *lines, rest = (self._rests[descriptor] + data).split(b"\n")
        self._rests[descriptor] = rest
        if not data:
            lines = [rest] if rest else []
            self._selector.unregister(descriptor)
            del self._rests[descriptor]
            os.close(descriptor)
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            child.recent.append(_COLOUR.sub(b"", line).decode(errors="replace").rstrip())
            self._sink(child.name, text)
        return bool(data)
