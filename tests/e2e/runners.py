"""Runners as processes of their own, as they are on somebody's machine, and what the server knows of their runs."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import psutil

from tests.e2e.conftest import Doors
from tests.waiting import eventually

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "python"
ENDED = ("completed", "failed", "killed")


class RunnerProcess:
    """`switchyard-agent run NAME …`, with nothing but the client package."""

    def __init__(self, doors: Doors, name: str, words: Sequence[str], *, url: str = "", **environ: str) -> None:
        self.name = name
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "switchyard_client", "agent", "run", name, *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "PYTHONPATH": str(CLIENT),
                "SWITCHYARD_GATEWAY_URL": url or doors.gateway_url,
                "SWITCHYARD_TOKEN": doors.token(permission="active"),
                **environ,
            },
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )

    def said(self) -> str:
        """What it has told at its terminal."""
        self.log.seek(0)
        return self.log.read().decode()

    def wait(self, seconds: float = 30) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the runner goes on: {self.said()}") from None

    def stop(self) -> None:
        """End it as one would at a terminal; twice, it does not wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.3)
            self.process.kill()
            self.process.wait()
        self.log.close()


@contextlib.contextmanager
def runner(doors: Doors, name: str, *words: str, url: str = "", **environ: str) -> Iterator[RunnerProcess]:
    """A runner that ends with the test."""
    started = RunnerProcess(doors, name, words, url=url, **environ)
    try:
        yield started
    except BaseException:
        sys.stderr.write(f"--- the runner said ---\n{started.said()}\n")
        raise
    finally:
        started.stop()


def agent(doors: Doors) -> str:
    """The name of a fresh agent."""
    name = f"agent-{uuid4().hex[:8]}"
    doors.command("register_agent", name=name, type="e2e")
    return name


def run_of(doors: Doors, name: str, *states: str, deadline: float = 20) -> dict[str, Any]:
    """The latest run of an agent, as soon as it is in one of these states."""

    def found() -> dict[str, Any] | None:
        runs = doors.command("list_runs", agent_name=name, limit=1)["runs"]
        return runs[0] if runs and runs[0]["state"] in states else None

    run = eventually(found, deadline, interval=0.1, because=f"a run of {name} is {' or '.join(states)}")
    assert run is not None
    return run


def ended(doors: Doors, name: str, deadline: float = 30) -> dict[str, Any]:
    """The latest run of an agent, once it has ended."""
    return run_of(doors, name, *ENDED, deadline=deadline)


def lines_of(doors: Doors, run_id: str, **which: Any) -> list[dict[str, Any]]:
    """All lines of a run that are stored, or those of one `stream`."""
    lines: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = doors.command("get_output", run_id=run_id, limit=500, **which, **cursor)
        lines += page["lines"]
        if page["next"] is None:
            return lines
        cursor = {"cursor": page["next"]}


def control(doors: Doors, run_id: str, action: str, **data: Any) -> Any:
    """What a runner answers to a control request."""
    return doors.command("control_agent", run_id=run_id, action=action, **data)["control"]["result"]


def marked(run_id: str) -> list[int]:
    """The processes of a run that are alive."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.status() != psutil.STATUS_ZOMBIE and each.environ().get("SWITCHYARD_RUN_ID") == run_id:
                found.append(each.pid)
    return found
