"""Child processes that never outlive us: started in a group of their own, stopped with patience, killed for certain."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import psutil

# Erlang sizes a table by this limit; where the hard limit is a billion (some container engines) it would eat gigabytes.
FILE_LIMIT = 65_536


# The kernel ties a child's life to the thread that started it, not to the process: so one thread, which lives as long
# as we do, starts all of them.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


class LocalError(Exception):
    """Something on this machine stands in the way; the text says what, and what to do about it."""


def raise_file_limit() -> int:
    """Raise our own limit of open files, which children inherit, to the hard limit; returns what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILE_LIMIT if hard == resource.RLIM_INFINITY else min(hard, FILE_LIMIT)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS refuses what is above kern.maxfilesperproc
        return soft
    return wanted


def guarded(command: Sequence[str], death_signal: str) -> list[str]:
    """The command, made to get `death_signal` when the thread that started it ends (Linux; elsewhere unchanged)."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", death_signal, *command] if setpriv else list(command)


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: int | IO[bytes],
    death_signal: str = "KILL",
    identity: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a guarded child in its own process group, with no standard input and both outputs going to `output`.

    `identity`: words before the command that change its user. The guard comes after them, since a process that
    changes its user loses it.
    """
    raise_file_limit()

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*identity, *guarded(command, death_signal)],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    return _starter.submit(start).result()


def wait_for(condition: Callable[[], bool], seconds: float, interval: float = 0.02) -> bool:
    """Poll until the condition holds; False when it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


def terminate(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> bool:
    """Send each signal in turn, waiting its seconds, until the process is gone; SIGKILL for the whole group at last.

    True when it went before the SIGKILL.
    """
    for number, seconds in steps:
        if process.poll() is not None:
            return True
        process.send_signal(number)
        try:
            process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            continue
    kill_tree(process)
    return False


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process and all its descendants, and wait until every one is gone."""
    if process.poll() is not None:
        return
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    wait_for(lambda: not any(_alive(child) for child in family), 10)


def _alive(process: psutil.Process) -> bool:
    """A zombie is gone: who reaps it, and when, is not our business."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def rotate(log: Path, limit: int = 10 * 1024 * 1024) -> None:
    """Keep a log that is appended to from growing for ever: over the limit it becomes `<name>.1`."""
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_name(log.name + ".1"))


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for an error message."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


def write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


class OwnServer:
    """A server process of our own: whether it lives, and whether it ended though nobody asked it to."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def running(self) -> bool:
        """True while the process lives, frozen or not."""
        return self.pid is not None

    @property
    def crashed(self) -> bool:
        """True when it ended though nobody asked it to."""
        return self._wanted and not self.running
