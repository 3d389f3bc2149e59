"""`switchyard up`, `down` and `status`, as commands in a folder of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.local.environment import ROOT, free_environment
from cli.local.run_file import RunFile
from tests.conftest import require_rabbitmq
from tests.waiting import eventually


class Checkout:
    """A folder from which the command is called, with ports of its own."""

    def __init__(self, folder: Path, **values: str) -> None:
        self.folder = folder
        environment = free_environment(**values)
        ports = {name: value for name, value in environment.values.items() if name.endswith("_PORT")}
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **ports, **values}
        self.ports = sorted(int(port) for port in ports.values())

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=200,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            cwd=self.folder,
            env=self.env,
            stdout=(self.folder / "output").open("w"),
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    require_rabbitmq()
    made = Checkout(tmp_path)
    yield made
    if running := RunFile(tmp_path / ".switchyard").read():
        running.process().kill()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_ctrl_c_stops_everything_and_leaves_no_process(checkout: Checkout) -> None:
    process = checkout.start("up")
    eventually(lambda: "Switchyard is ready" in checkout.output, 90)
    family = psutil.Process(process.pid).children(recursive=True)
    assert {"postgres", "beam.smp"} <= {child.name() for child in family}
    assert (checkout.folder / ".env").stat().st_mode & 0o777 == 0o600

    process.send_signal(signal.SIGINT)

    assert process.wait(20) == 0
    assert "stopped in" in checkout.output
    _, alive = psutil.wait_procs(family, timeout=2)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    assert RunFile(checkout.folder / ".switchyard").read() is None


@pytest.mark.timeout(300)  # every service, and a Claude Code, on a machine that may be busy
def test_a_stack_in_the_background_shows_all_by_stand_ins_and_is_found_and_stopped(
    tmp_path: Path, database_url: str, fresh_amqp_url: str
) -> None:
    checkout = Checkout(tmp_path, DATABASE_URL=database_url, AMQP_URL=fresh_amqp_url)

    began = checkout.run("up", "--detach", "--demo")
    assert began.returncode == 0, began.stdout + began.stderr
    again = checkout.run("up")
    tried = checkout.run("doctor")
    shown = checkout.run("status", "--json")
    refused = checkout.run("clean-data")
    ended = checkout.run("down")

    assert "Switchyard is ready" in began.stdout
    assert "it remembered, on the same client (hot)" in began.stdout
    assert "in the room ← “You wrote: “Is the release on Friday?”" in began.stdout
    assert "All of it arrived" in began.stdout
    assert "✓ Credential for Claude: accepted by http://127.0.0.1:" in tried.stdout
    assert "✓ Campfire source demo-campfire" in tried.stdout and "All is well" in tried.stdout
    assert "runs already" in again.stdout
    assert "/#login=" in again.stdout
    assert shown.returncode == 0, shown.stdout
    said = json.loads(shown.stdout)
    services = said["services"]
    assert said["live"]["gateway"]["connections_total"] == 0
    assert all(service["ready"] and service["pid"] for service in services)
    assert "is running" in refused.stderr
    assert "Stopped in" in ended.stdout
    assert not any(psutil.pid_exists(service["pid"]) for service in services)
    assert "Nothing is running" in checkout.run("down").stdout
    assert "Removed" in checkout.run("clean-data").stdout
    assert not (tmp_path / ".switchyard").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_before_a_stack_in_the_background_is_ready_leaves_none_behind(
    tmp_path: Path, database_url: str, number: signal.Signals
) -> None:
    # A broker that is not there, so that nothing gets ready.
    checkout = Checkout(tmp_path, DATABASE_URL=database_url, AMQP_URL="amqp://127.0.0.1:1")
    process = checkout.start("up", "--detach")
    eventually(lambda: (tmp_path / ".switchyard" / "run.lock").exists(), 30)
    family = eventually(lambda: psutil.Process(process.pid).children(recursive=True), 30)

    process.send_signal(number)

    assert process.wait(40) == 1
    assert "Stopped before everything was ready" in checkout.output
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_still_starts_is_stopped_as_well(tmp_path: Path, database_url: str) -> None:
    checkout = Checkout(tmp_path, DATABASE_URL=database_url, AMQP_URL="amqp://127.0.0.1:1")
    process = checkout.start("up", "--detach")
    eventually(RunFile(tmp_path / ".switchyard").holder, 30)

    assert "Stopped in" in checkout.run("down").stdout
    assert process.wait(40) == 1
    assert RunFile(tmp_path / ".switchyard").holder() is None


def test_a_wrong_setting_is_named_as_soon_as_its_service_keeps_ending(
    tmp_path: Path, database_url: str, amqp_url: str
) -> None:
    (config := tmp_path / "wrong.toml").write_text('[bots.helper]\nbusy = "wait"\n')
    checkout = Checkout(tmp_path, DATABASE_URL=database_url, AMQP_URL=amqp_url, SWITCHYARD_CONFIG=str(config))

    failed = checkout.run("up", "--detach")

    assert failed.returncode == 1
    assert "claude_worker ended 3 times" in failed.stderr and "[bots.helper]: busy" in failed.stderr
    assert "Not ready after" not in failed.stderr


def test_a_taken_port_is_named_before_anything_is_started(checkout: Checkout) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", checkout.ports[0]))
        server.listen()
        failed = checkout.run("up")

    assert failed.returncode == 1
    assert f"Port {checkout.ports[0]} (HTTP API) is taken" in failed.stderr
    assert f"(pid {os.getpid()})" in failed.stderr
    assert "SWITCHYARD_INGRESS_PORT" in failed.stderr
    assert not (checkout.folder / ".switchyard" / "postgres").exists()


def test_a_folder_that_is_not_ours_is_not_removed(checkout: Checkout) -> None:
    (checkout.folder / "kept").mkdir()
    checkout.env["SWITCHYARD_DATA"] = "kept"

    refused = checkout.run("clean-data")

    assert refused.returncode == 1
    assert "does not look like a data folder of ours" in refused.stderr
    assert (checkout.folder / "kept").exists()
