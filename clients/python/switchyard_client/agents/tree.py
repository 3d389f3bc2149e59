"""All processes of a run: the one that was started, its descendants, and those that left its session behind.

What a descendant does to be on its own (a group, a session, a parent that ends) does not hide it: it still has the
run's mark in its environment.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "SWITCHYARD_RUN_ID"
RUNNER_MARK = "SWITCHYARD_RUNNER_ID"
# New processes may appear while we look at the old ones: so often we look again.
_ROUNDS = 20
_PROC = Path("/proc/self/environ").exists()


@dataclass(frozen=True)
class Use:
    """What the processes of a run take at the moment: CPU as a part of one core since the last look, resident bytes."""

    cpu_percent: float
    memory_bytes: int
    processes: int


class Tree:
    """The processes of one run."""

    def __init__(self, pid: int, run_id: str) -> None:
        self.pid = pid
        self._began = _began(pid)
        self._run_id = run_id
        self._seen_cpu: dict[int, float] = {}
        self._seen_at = time.monotonic()

    def members(self) -> list[psutil.Process]:
        """Those that live now, the first one first."""
        # Once it is gone, its number may be given to another, who has nothing to do with us.
        ours = _began(self.pid) in (None, self._began)
        return marked(MARK, self._run_id, root=self.pid if ours else None)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to all, also to those that appear meanwhile; returns how many got it."""
        told: set[tuple[int, float]] = set()
        for _ in range(_ROUNDS):
            new = [each for each in self.members() if (each.pid, each.create_time()) not in told]
            if not new:
                break
            for each in new:
                told.add((each.pid, each.create_time()))
                with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                    each.send_signal(number)
        return len(told)

    def use(self) -> Use:
        """What they take; the first look measures CPU since the processes began."""
        now = time.monotonic()
        cpu: dict[int, float] = {}
        spent, memory, count = 0.0, 0, 0
        for each in self.members():
            with contextlib.suppress(psutil.Error):
                times = each.cpu_times()
                cpu[each.pid] = times.user + times.system
                spent += cpu[each.pid] - self._seen_cpu.get(each.pid, 0.0)
                memory += each.memory_info().rss
                count += 1
        elapsed, self._seen_at, self._seen_cpu = max(now - self._seen_at, 0.001), now, cpu
        return Use(round(100 * spent / elapsed, 1), memory, count)


def _began(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def marked(name: str, value: str, *, root: int | None = None) -> list[psutil.Process]:
    """Live processes with this in their environment; with `root`, also those of its session and its descendants."""
    parents: dict[int, int] = {}
    found: dict[int, psutil.Process] = {}
    wanted = f"{name}={value}"
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            parents[each.pid] = each.ppid()
            if each.status() == psutil.STATUS_ZOMBIE:
                continue
            in_session = root is not None and os.getsid(each.pid) == root
            if in_session or each.pid == root or _has(each, wanted):
                found[each.pid] = each
    if root is not None:
        for pid in parents:
            above = pid
            while above and above not in found and parents.get(above, 0) != above:
                above = parents.get(above, 0)
            if above in found and pid not in found:
                with contextlib.suppress(psutil.Error):
                    each = psutil.Process(pid)
                    if each.status() != psutil.STATUS_ZOMBIE:
                        found[pid] = each
    found.pop(os.getpid(), None)
    return [found[pid] for pid in sorted(found, key=lambda pid: (pid != root, pid))]


def _has(process: psutil.Process, wanted: str) -> bool:
    name, _, value = wanted.partition("=")
    if _PROC:
        return wanted.encode() in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    return process.environ().get(name) == value


def end_marked(find: Callable[[], list[psutil.Process]]) -> None:
    """Kill what is found, until nothing is."""
    for _ in range(_ROUNDS):
        left = find()
        if not left:
            return
        for each in left:
            with contextlib.suppress(psutil.Error, OSError):
                each.kill()
        psutil.wait_procs(left, timeout=0.2)
