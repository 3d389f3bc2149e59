"""The supervisor and the stack, with small programs in place of services."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import psutil
import pytest

from cli.local.environment import free_environment
from cli.local.merged_log import MergedLog
from cli.local.stack import Stack
from cli.local.supervisor import ORDERLY_AFTER, Child, Supervisor
from tests.waiting import eventually

PATIENT = "import time, sys; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PATIENT
UNSTABLE = "import sys; print('about to fall'); sys.exit(3)"


@pytest.fixture
def output() -> StringIO:
    return StringIO()


@pytest.fixture
def supervisor(output: StringIO) -> Iterator[Supervisor]:
    running = Supervisor(MergedLog(output, colour=False).line)
    running.start()
    yield running
    running.close()


def child(name: str, program: str, folder: Path) -> Child:
    return Child(name, [sys.executable, "-c", program], env={}, cwd=folder)


def run(supervisor: Supervisor, name: str, program: str, folder: Path) -> Child:
    made = child(name, program, folder)
    supervisor.add(made)
    made.start()
    return made


def test_a_killed_child_is_started_again_and_the_log_says_so(
    supervisor: Supervisor, output: StringIO, tmp_path: Path
) -> None:
    worker = run(supervisor, "memory_worker", PATIENT, tmp_path)
    first = eventually(lambda: worker.pid)

    worker.kill()

    second = eventually(lambda: worker.pid)
    assert second != first
    assert worker.restarts == 1
    assert "memory_worker was killed by SIGKILL; starting it again" in output.getvalue()


def test_a_child_that_keeps_falling_is_started_less_and_less_often(
    supervisor: Supervisor, output: StringIO, tmp_path: Path
) -> None:
    worker = run(supervisor, "task_worker", UNSTABLE, tmp_path)

    eventually(lambda: worker.restarts >= 2)
    worker.stop()

    text = output.getvalue()
    assert "task_worker ended with exit code 3; starting it again in 0.5 s" in text
    assert "task_worker ended with exit code 3; starting it again in 1 s" in text
    assert "task_worker    | about to fall" in text


def test_a_child_that_ended_in_order_is_started_anew_at_once_and_not_called_crashed(
    supervisor: Supervisor, output: StringIO, tmp_path: Path
) -> None:
    program = "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0)); time.sleep(600)"
    gateway = run(supervisor, "ws_gateway", f"print('up', flush=True); {program}", tmp_path)
    eventually(lambda: output.getvalue().count("up") == 1)
    first = gateway.pid
    eventually(lambda: time.monotonic() - gateway._started > ORDERLY_AFTER)

    gateway.signal(signal.SIGUSR1)

    eventually(lambda: output.getvalue().count("| up") == 2, 1)
    assert gateway.pid != first
    assert "ws_gateway has ended as it was ordered to; starting it anew" in output.getvalue()
    assert "exit code" not in output.getvalue()


def test_a_stopped_child_stays_away_until_it_is_started(supervisor: Supervisor, tmp_path: Path) -> None:
    worker = run(supervisor, "ingress", PATIENT, tmp_path)
    eventually(lambda: worker.running)

    assert worker.stop()
    assert not worker.running
    worker.kill(restart=False)
    worker.start()

    eventually(lambda: worker.running)
    assert worker.restarts == 0


def test_a_child_that_ignores_the_polite_signal_is_killed(
    supervisor: Supervisor, output: StringIO, tmp_path: Path
) -> None:
    worker = run(supervisor, "ingress", STUBBORN, tmp_path)
    eventually(lambda: "up" in output.getvalue())

    assert not worker.stop(seconds=0.3)
    assert not worker.running


def test_a_line_arrives_whole_behind_its_name_and_without_colours_in_a_file(
    supervisor: Supervisor, output: StringIO, tmp_path: Path
) -> None:
    program = "import sys; w = sys.stderr.write; w('\\x1b[31mone'); sys.stderr.flush(); w(' two\\x1b[0m\\nlast')"
    worker = run(supervisor, "ingress", program, tmp_path)
    eventually(lambda: worker.restarts)
    worker.stop()

    assert output.getvalue().splitlines()[:2] == ["ingress        | one two", "ingress        | last"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_children_and_servers_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from cli.local.environment import free_environment
from cli.local.stack import Stack
from cli.local.supervisor import Child
folder = Path({str(tmp_path)!r})
child = Child("ingress", [sys.executable, "-c", {PATIENT!r}], env={{}}, cwd=folder)
stack = Stack(folder / "data", free_environment(), [], children=[child])
stack.start()
print("started", flush=True)
import time; time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "started\n"
        family = psutil.Process(supervisor.pid).children(recursive=True)
        names = {process.name() for process in family}
        supervisor.kill()

    assert {"postgres", "beam.smp"} <= names
    eventually(lambda: all(gone(process) for process in family), 20)


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_stack_starts_its_servers_again_when_they_crash(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(services=[])
    stack.start()
    assert stack.postgres is not None
    assert stack.rabbitmq is not None
    urls = stack.database_url, stack.amqp_url
    pids = stack.postgres.pid, stack.rabbitmq.pid

    for pid in pids:
        assert pid is not None
        psutil.Process(pid).kill()

    eventually(lambda: stack.postgres and stack.postgres.pid not in (None, pids[0]), 20)
    eventually(lambda: stack.rabbitmq and stack.rabbitmq.pid not in (None, pids[1]), 20)
    stack.rabbitmq.wait()
    stack.postgres.wait()
    assert (stack.database_url, stack.amqp_url) == urls


def test_a_stopped_stack_leaves_no_process_and_no_open_port(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(services=[])
    stack.start()
    assert stack.postgres is not None
    assert stack.rabbitmq is not None
    roots = [psutil.Process(pid) for pid in (stack.postgres.pid, stack.rabbitmq.pid)]
    family = [*roots, *(process for root in roots for process in root.children(recursive=True))]

    stack.stop()

    assert not stack.postgres.running
    eventually(lambda: all(gone(process) for process in family), 5)
    stack.stop()


def test_servers_named_by_the_environment_are_used_and_left_alone(
    tmp_path: Path, database_url: str, amqp_url: str
) -> None:
    with Stack(tmp_path, free_environment(DATABASE_URL=database_url, AMQP_URL=amqp_url), []) as stack:
        assert stack.postgres is None
        assert stack.rabbitmq is None
        assert stack.database_url == database_url


def test_a_stack_that_is_told_to_give_up_waits_no_longer(tmp_path: Path, database_url: str, amqp_url: str) -> None:
    environment = free_environment(DATABASE_URL=database_url, AMQP_URL=amqp_url)
    stack = Stack(tmp_path, environment, ["ingress"])
    threading.Timer(0.5, stack.abort).start()
    with pytest.raises(Exception, match="ingress: no answer on port"):
        stack.wait_ready(seconds=30)
    stack.stop()


def test_signals_reach_a_child(supervisor: Supervisor, tmp_path: Path) -> None:
    worker = run(supervisor, "ingress", PATIENT, tmp_path)
    pid = eventually(lambda: worker.pid)

    worker.signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    worker.signal(signal.SIGCONT)

    eventually(lambda: psutil.Process(pid).status() != psutil.STATUS_STOPPED)
