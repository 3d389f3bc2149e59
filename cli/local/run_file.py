"""What is known of the stack that runs on a data folder: `run.json` in it, and the lock its supervisor holds."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cli.local.environment import Environment
from cli.local.processes import LocalError, write_private
from shared import WORKERS


@dataclass(frozen=True)
class Running:
    """A stack that runs: its supervisor's process id and what `Stack.describe` said."""

    pid: int
    facts: dict[str, Any]

    def process(self) -> psutil.Process:
        """The supervisor."""
        return psutil.Process(self.pid)


def present(environment: Environment, environ: Mapping[str, str] | None = None) -> Environment:
    """The settings with the ports of the stack that runs on their data folder, wherever it was told to listen.

    What the environment of this process says stays as it is.
    """
    running = RunFile(environment.data).read()
    services = running.facts.get("services", {}) if running else {}
    names = {
        "SWITCHYARD_INGRESS_PORT": "ingress",
        "SWITCHYARD_GATEWAY_PORT": "ws_gateway",
        "SWITCHYARD_WORKERS_PORT": WORKERS[0],
    }
    said = os.environ if environ is None else environ
    ports = {name: str(services[service]) for name, service in names.items() if service in services}
    return environment.with_values({name: port for name, port in ports.items() if not said.get(name)})


def servers(environment: Environment) -> dict[str, str]:
    """DATABASE_URL and AMQP_URL as they are set, else of the stack that runs on the data folder, as far as known.

    Raises LocalError when there is no RabbitMQ to be had: no service works without one.
    """
    running = RunFile(environment.data).read()
    facts = running.facts if running else {}
    known = {name: environment.get(name) or facts.get(name.lower()) for name in ("DATABASE_URL", "AMQP_URL")}
    if not known["AMQP_URL"]:
        raise LocalError(
            f"There is no RabbitMQ: nothing runs on {environment.data}, and AMQP_URL is not set. Start the stack with "
            "`make up`, or set AMQP_URL and DATABASE_URL."
        )
    return {name: url for name, url in known.items() if url}


class RunFile:
    """The run file of one data folder."""

    def __init__(self, data: Path) -> None:
        self.path = data / "run.json"
        self._lock = data / "run.lock"

    def read(self) -> Running | None:
        """The stack that runs there now, or None; a file left by a killed supervisor does not count."""
        try:
            facts = json.loads(self.path.read_text())
            # The process id alone may belong to another program by now.
            if psutil.Process(facts["pid"]).create_time() != facts["created"]:
                return None
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        return Running(facts["pid"], facts)

    def write(self, facts: dict[str, Any]) -> None:
        """Say what runs; the file holds passwords, so it is ours alone."""
        created = psutil.Process().create_time()
        write_private(self.path, json.dumps({**facts, "pid": os.getpid(), "created": created}, indent=1))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one supervisor of this folder; LocalError when there is one. The run file goes in the end."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalError(f"Another `switchyard up` is at work on {self._lock.parent}.") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield
            finally:
                self.path.unlink(missing_ok=True)

    def holder(self) -> psutil.Process | None:
        """The supervisor of this folder, also while it still starts; None when there is none."""
        try:
            with self._lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                return psutil.Process(int(self._lock.read_text()))
            except (ValueError, psutil.Error):  # it has just begun, or ended
                return None
        except OSError:
            return None
        return None
