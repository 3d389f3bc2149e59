"""The processes of Claude Code on this machine: what they take, and which of them nobody owns any more."""

import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from services.claude_worker.client.cli import PREFIX

# The start of a process is known to a hundredth of a second, and the clock may have been set since.
CLOCK_SECONDS = 2.0
_OURS = re.compile(rf"/{PREFIX}(\d+)-[^/]+/[^/]+")


class Client(NamedTuple):
    """A process of a client: of which worker, by its process, and with which folder."""

    process: psutil.Process
    worker: int
    home: Path


def measure(pids: Iterable[int]) -> dict[int, int]:
    """The bytes each of these processes takes, with its part of what it shares (PSS); else all it has in memory.

    Those that are gone are left out. Takes some milliseconds for each, so it is not for an event loop.
    """
    taken = {}
    for pid in pids:
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            try:
                taken[pid] = process.memory_full_info().pss
            except (AttributeError, psutil.AccessDenied):
                taken[pid] = process.memory_info().rss
    return taken


def find_clients() -> list[Client]:
    """Every client's process there is, of whatever worker; not for an event loop."""
    found = []
    for process in psutil.process_iter(["name"]):
        if "claude" not in (process.info["name"] or ""):
            continue
        with suppress(psutil.Error, OSError):
            if ours := _OURS.search(process.environ().get("HOME", "")):
                found.append(Client(process, int(ours[1]), Path(ours.string)))
    return found


def orphans(clients: Iterable[Client], homes: Collection[Path]) -> list[psutil.Process]:
    """Those whose worker is dead, and those of this worker that are not among its `homes`."""
    return [
        client.process
        for client in clients
        if (client.home not in homes if client.worker == os.getpid() else not _lives(client))
    ]


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill processes; those that have gone meanwhile are no matter."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _lives(client: Client) -> bool:
    """Whether its worker does: a process that is younger than the client has only its number."""
    try:
        worker = psutil.Process(client.worker)
        return worker.status() != psutil.STATUS_ZOMBIE and (
            worker.create_time() <= client.process.create_time() + CLOCK_SECONDS
        )
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
