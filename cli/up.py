"""`switchyard up`, `down`, `status` and `clean-data`: the stack of this checkout, in the foreground or behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from rich.markup import escape
from rich.table import Table

from cli import gateways
from cli.local import ports, standins
from cli.local.bots import declared_bots, what_is_missing
from cli.local.environment import (
    ENV_FILE,
    ROOT,
    Environment,
    available_services,
    complete_env_file,
    example_secrets,
    make_env_file,
)
from cli.local.merged_log import MergedLog
from cli.local.processes import LocalError, last_lines, rotate
from cli.local.run_file import RunFile, Running, present
from cli.local.stack import Stack, ready
from cli.screen import BAD, GOOD, out
from shared import WORKERS

DETACHED_LOG = "switchyard.log"
READY_SECONDS = 120.0


def up(*, detach: bool, demo: bool, supervise: bool = False, stand_ins: bool = False) -> None:
    """Start everything and stay until a signal; with `detach`, return when all is ready.

    `demo` runs the demonstration then, and starts the stand-ins it needs beside the services. `supervise` is the
    background half of `detach`: no banner, the log goes to a file, and `stand_ins` says whether there are any.
    """
    if make_env_file(ENV_FILE):
        out.print("Made .env with random secrets.")
    environment = Environment.load(ENV_FILE)
    if added := complete_env_file(ENV_FILE, environment):
        out.print(f"Added to .env, with random values: {', '.join(added)}.")
        environment = Environment.load(ENV_FILE)
    run_file = RunFile(environment.data)
    if running := run_file.read():
        out.print(f"Switchyard runs already (pid {running.pid}); `make down` stops it.")
        _banner(present(environment), running)
        if demo:
            subprocess.run([sys.executable, "-m", "cli.main", "demo"], check=False)
        return
    _check_ports(environment)
    if detach:
        _up_behind(environment, run_file, stand_ins=demo)
    else:
        _up_here(environment, run_file, demo=demo, supervise=supervise, stand_ins=demo or stand_ins)
    if detach and demo:
        subprocess.run([sys.executable, "-m", "cli.main", "demo"], check=False)


def down() -> None:
    """Stop the stack of this checkout, and say how long it took."""
    run_file = RunFile(Environment.load(ENV_FILE).data)
    running = run_file.read()
    supervisor = running.process() if running else run_file.holder()
    if supervisor is None:
        out.print("Nothing is running.")
        return
    began = time.monotonic()
    supervisor.terminate()
    try:
        supervisor.wait(25)
    except psutil.TimeoutExpired:
        supervisor.kill()  # whatever it looked after dies with it
        raise LocalError("The supervisor did not stop in 25 s and was killed; its children go with it.") from None
    out.print(f"Stopped in {time.monotonic() - began:.1f} s. The data stays in {run_file.path.parent}.")


def clean_data() -> None:
    """Remove everything in the data folder."""
    data = Environment.load(ENV_FILE).data
    if running := RunFile(data).read():
        raise LocalError(f"Switchyard is running on {data} (pid {running.pid}). First: make down")
    if not data.exists():
        out.print(f"There is no data in {data}.")
        return
    if data in (Path.home(), *ROOT.parents, ROOT) or not _looks_ours(data):
        raise LocalError(f"{data} does not look like a data folder of ours; nothing was removed.")
    shutil.rmtree(data)
    out.print(f"Removed {data}.")


def status(*, as_json: bool) -> bool:
    """Print what runs and whether each service is ready; True when all are."""
    environment = present(Environment.load(ENV_FILE))
    running = RunFile(environment.data).read()
    names = list(running.facts["services"]) if running else available_services()
    rows = [_row(name, environment, _processes(running)) for name in names]
    live = gateways.state(environment.gateway_port, environment.get("SWITCHYARD_API_KEY"))
    if as_json:
        said = {"supervisor": running.pid if running else None, "services": rows, "live": live}
        print(json.dumps(said, indent=2))  # noqa: T201
        return all(row["ready"] for row in rows)
    out.print(f"Running (pid {running.pid}, {environment.data})." if running else "Not started by `make up`.")
    table = Table("service", "ready", "port", "pid", "memory", "says", box=None, pad_edge=False)
    for row in rows:
        mark = GOOD if row["ready"] else BAD
        memory = f"{row['memory'] // 1_000_000} MB" if row["memory"] else ""
        table.add_row(row["name"], mark, str(row["port"]), str(row["pid"] or ""), memory, escape(row["says"]))
    out.print(table)
    if live:
        gateways.show(live)
    if running:
        _banner(environment, running)
    return all(row["ready"] for row in rows)


def _check_ports(environment: Environment) -> None:
    wanted = {
        "HTTP API": (environment.ingress_port, "SWITCHYARD_INGRESS_PORT"),
        "WebSocket": (environment.gateway_port, "SWITCHYARD_GATEWAY_PORT"),
    }
    for service in available_services():
        if service in WORKERS:
            wanted[f"health of {service}"] = (environment.health_port(service), "SWITCHYARD_WORKERS_PORT")
    if given_twice := ports.shared(wanted):
        raise LocalError("\n".join(given_twice))
    if taken := ports.busy(wanted, environment.get("SWITCHYARD_HOST", "127.0.0.1")):
        raise LocalError("\n".join(taken))


def _up_here(environment: Environment, run_file: RunFile, *, demo: bool, supervise: bool, stand_ins: bool) -> None:
    """Run the stack in this process until SIGINT, SIGTERM or SIGHUP."""
    stop = threading.Event()
    starting = True

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(130)  # the second Ctrl-C: the kernel takes the children down with us
        stop.set()
        if starting:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    with run_file.held():
        log = MergedLog.to_file(run_file.path.with_name(DETACHED_LOG)) if supervise else MergedLog.to_terminal()
        found = standins.stand_ins(environment) if stand_ins else standins.StandIns()
        children = found.children
        stack = Stack(environment.data, environment.with_values(found.values), log=log, children=children)
        log.line("switchyard", "starting; Ctrl-C stops everything")
        try:
            stack.start(READY_SECONDS)
        except KeyboardInterrupt:
            log.line("switchyard", "stopped before everything was ready")
            return
        starting = False
        run_file.write({**stack.describe(), "stand_ins": dict(found.facts), "settings": dict(found.values)})
        if supervise:
            log.line("switchyard", f"ready in {stack.timings['ready']:.1f} s")
        else:
            _banner(environment, run_file.read(), stack.timings["ready"])
        if demo and not stop.is_set():
            subprocess.run([sys.executable, "-m", "cli.main", "demo"], check=False)
        stop.wait()
        began = time.monotonic()
        log.line("switchyard", "stopping ...")
        stack.stop()
        log.line("switchyard", f"stopped in {time.monotonic() - began:.1f} s; the data stays in {environment.data}")


def _up_behind(environment: Environment, run_file: RunFile, *, stand_ins: bool) -> None:
    """Start a supervisor of its own session, and return when it says that all is ready."""
    environment.data.mkdir(parents=True, exist_ok=True)
    log = environment.data / DETACHED_LOG
    rotate(log)
    out.print(f"Starting (the log is {log}) ...")
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C
    with log.open("ab") as file:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up", "--supervise", *(["--stand-ins"] if stand_ins else [])],
            cwd=Path.cwd(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        while (running := run_file.read()) is None:
            if supervisor.poll() is not None:
                raise LocalError(f"Switchyard did not start. The end of {log}:\n{last_lines(log, 25)}")
            time.sleep(0.05)
    except KeyboardInterrupt:
        # In a session of its own, it does not hear of the Ctrl-C.
        supervisor.terminate()
        supervisor.wait(25)
        raise LocalError(f"Stopped before everything was ready. The end of {log}:\n{last_lines(log, 10)}") from None
    supervisor.returncode = 0  # it is on its own from here; without this Python warns of a child left behind
    _banner(environment, running, time.monotonic() - began)


def sign_in_link(url: str | None = None) -> str:
    """A fresh one-use link to the dashboard; `url` is where browsers find it, if elsewhere than the settings say."""
    return _link(present(Environment.load(ENV_FILE)), url)


def _link(environment: Environment, url: str | None = None) -> str:
    from shared.auth import login_code

    secret = environment.get("SWITCHYARD_SECRET")
    if not secret:
        raise LocalError("SWITCHYARD_SECRET is not set, neither in the environment nor in .env. Run `make up` once.")
    return f"{(url or environment.api_url).rstrip('/')}/#login={login_code(secret)}"


def _banner(environment: Environment, running: Running | None, seconds: float | None = None) -> None:
    """Where everything is, with a fresh sign-in link."""
    api = environment.api_url
    lines = [
        f"Dashboard   {_link(environment)}",
        "            (this link signs in once, within 15 minutes; `switchyard status` makes a new one)",
        f"API         {api}   (docs: {api}/docs)",
        f"WebSocket   {environment.gateway_url}",
        "Key         SWITCHYARD_API_KEY in .env",
        "Next        make demo",
    ]
    stood_in = running.facts.get("stand_ins", {}) if running else {}
    lines += [f"{'Bots' if not index else '':<12}{text}" for index, text in enumerate(_bots(environment, stood_in))]
    if known := example_secrets(environment.values):
        lines.append(f"Careful     {', '.join(known)} in .env: the value from .env.example, which everybody knows")
    title = f"Switchyard is ready ({seconds:.1f} s)" if seconds is not None else "Switchyard"
    # No frame and no wrapping by us: the link must stay in one piece to be clicked on.
    out.print(f"\n[bold green]{title}[/]")
    out.print("\n".join(f"  {line}" for line in lines) + "\n", markup=False)


def _bots(environment: Environment, stood_in: Mapping[str, str]) -> list[str]:
    """What is said of the bots: who there is, who answers for Claude, and what they lack."""
    bots = declared_bots(environment)
    if not bots:
        return []
    if standins.MESSAGES_API in stood_in:
        return [f"{', '.join(bots)}: a stand-in answers, not Claude, until ANTHROPIC_API_KEY is set in .env"]
    missing = what_is_missing(environment)
    if missing:
        return [f"{', '.join(bots)}: can't answer", *missing]
    return [f"{', '.join(bots)}: switchyard chat ROOM {bots[0]} 'Hello'"]


def _row(name: str, environment: Environment, processes: dict[str, psutil.Process]) -> dict[str, Any]:
    port = environment.health_port(name)
    is_ready, says = ready(port)
    process = processes.get(name)
    memory = process.memory_info().rss if process else 0
    return {
        "name": name,
        "ready": is_ready,
        "port": port,
        "pid": process.pid if process else None,
        "memory": memory,
        "says": "" if is_ready else says,
    }


def _processes(running: Running | None) -> dict[str, psutil.Process]:
    """The service processes under a supervisor, by service."""
    found = {}
    try:
        for process in running.process().children() if running else []:
            words = process.cmdline()
            if module := next((word for word in words if word.startswith("services.")), None):
                found[module.removeprefix("services.")] = process
    except psutil.Error:
        return found
    return found


def _looks_ours(data: Path) -> bool:
    known = {"postgres", "rabbitmq", "run.json", "run.lock", DETACHED_LOG}
    return any((data / name).exists() for name in known)
