"""A RabbitMQ for this machine: the one that is there, else one from the package manager, else one in Docker."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cli.local.processes import LocalError
from cli.local.rabbitmq import RabbitMQ, find_server
from cli.local.rabbitmq_docker import DockerRabbitMQ, engine_answers

# Asked by Debian's package scripts before they start a service; 101 is "no".
POLICY = Path("/usr/sbin/policy-rc.d")

HELP = """RabbitMQ is missing, and there is no way to get it from here. One of these helps:
  Debian, Ubuntu:  sudo apt-get install rabbitmq-server
  macOS:           brew install rabbitmq
  Docker:          start the engine, then run this again
  elsewhere:       set AMQP_URL in .env to a broker you have"""

Say = Callable[[str], None]


def provide(data: Path, *, say: Say) -> RabbitMQ | DockerRabbitMQ:
    """A broker under `data`, not started yet; LocalError with what to install when there is no way."""
    if server := find_server() or install(say):
        return RabbitMQ(data, server=server)
    if engine_answers():
        return DockerRabbitMQ(data)
    raise LocalError(HELP)


def install(say: Say) -> Path | None:
    """Install rabbitmq-server where we are allowed to, without starting the machine's own service; None when not."""
    began = time.monotonic()
    if sys.platform == "darwin" and (brew := shutil.which("brew")):
        say("installing RabbitMQ with Homebrew (a few minutes) …")
        _run([brew, "install", "rabbitmq"])
    elif (apt := shutil.which("apt-get")) and (root := _as_root()) is not None:
        say("installing RabbitMQ with apt-get (about half a minute) …")
        _install_with_apt([*root, "env", "DEBIAN_FRONTEND=noninteractive", apt], root)
    else:
        return None
    server = find_server()
    if server is not None:
        say(f"RabbitMQ is installed ({time.monotonic() - began:.0f} s)")
    return server


def _as_root() -> list[str] | None:
    """The words before a command that make root run it; None when we may not."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def _install_with_apt(apt: Sequence[str], root: Sequence[str]) -> None:
    package = [*apt, "install", "-y", "-qq", "--no-install-recommends", "rabbitmq-server"]
    with _services_kept_down(root):
        # Package lists are missing in fresh containers and stale on old machines.
        if not _succeeds(package):
            _run([*apt, "update", "-qq"])
            _run(package)
        # Nor is it to come up with the next boot: nobody asked for a broker on the standard port.
        if shutil.which("systemctl"):
            _succeeds([*root, "systemctl", "disable", "rabbitmq-server.service"])


@contextmanager
def _services_kept_down(root: Sequence[str]) -> Iterator[None]:
    """While this lasts, no package starts its service. A policy the machine has already is left as it is."""
    if POLICY.exists():
        yield
        return
    script = "#!/bin/sh\\nexit 101\\n"
    _run([*root, "sh", "-c", f"printf '{script}' > {POLICY} && chmod 755 {POLICY}"])
    try:
        yield
    finally:
        _run([*root, "rm", "-f", str(POLICY)])


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise LocalError(f"`{' '.join(command)}` failed:\n{end}\n\n{HELP}")
