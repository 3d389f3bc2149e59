"""Which processes of clients nobody owns; real processes, of another program under the client's name."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.claude_worker.client import processes
from services.claude_worker.client.cli import PREFIX
from tests.waiting import eventually


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], tuple[int, Path]]]:
    """Starts a client of the worker with this process id; its own id and its folder."""
    program = tmp_path / "claude"
    shutil.copy(shutil.which("sleep") or "", program)
    started: list[subprocess.Popen[bytes]] = []

    def start(worker: int) -> tuple[int, Path]:
        home = tmp_path / f"{PREFIX}{worker}-x" / f"home-{len(started)}"
        started.append(subprocess.Popen([program, "60"], env={"HOME": str(home)}))
        pid = started[-1].pid
        eventually(lambda: pid in [client.process.pid for client in processes.find_clients()])
        return pid, home

    yield start
    for process in started:
        process.kill()
        process.wait()


def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_orphans_are_those_of_dead_workers_and_our_own_that_nobody_knows(
    start: Callable[[int], tuple[int, Path]],
) -> None:
    known, home = start(os.getpid())
    unknown, _ = start(os.getpid())
    of_the_dead, _ = start(dead())
    of_another, _ = start(os.getppid())
    found = processes.find_clients()
    left = {process.pid for process in processes.orphans(found, {home})}
    assert left & {known, unknown, of_the_dead, of_another} == {unknown, of_the_dead}


def test_a_younger_process_with_a_dead_workers_number_owns_nothing(start: Callable[[int], tuple[int, Path]]) -> None:
    pid, home = start(dead())
    younger = subprocess.Popen(["sleep", "60"])
    try:
        client = processes.Client(psutil.Process(pid), younger.pid, home)
        assert not processes.orphans([client], set())
        # It did not start when it did.
        client.process._create_time = psutil.Process(younger.pid).create_time() - 60
        assert [process.pid for process in processes.orphans([client], set())] == [pid]
    finally:
        younger.kill()
        younger.wait()


def test_what_processes_take_is_measured_and_those_that_are_gone_are_left_out() -> None:
    taken = processes.measure([os.getpid(), dead()])
    assert set(taken) == {os.getpid()} and 2**20 < taken[os.getpid()] <= psutil.Process().memory_info().rss * 1.5
