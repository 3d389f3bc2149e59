"""A RabbitMQ of our own: a private node from the machine's rabbitmq-server, with its own ports, cookie and user."""

import json
import os
import secrets
import shutil
import signal
import socket
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

# The script itself, not the wrapper in /usr/sbin that insists on the user `rabbitmq`.
PLACES = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/sbin/rabbitmq-server",
    "/usr/local/sbin/rabbitmq-server",
)
GREETING = b"AMQP\x00\x00\x09\x01"


def find_server() -> Path | None:
    """The `rabbitmq-server` script of this machine, or None."""
    found = next((place for place in PLACES if Path(place).exists()), None) or shutil.which("rabbitmq-server")
    return Path(found) if found else None


def answers_amqp(port: int) -> bool:
    """True when a real AMQP connection could begin: the broker greets back with Connection.Start."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(GREETING)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


class RabbitMQ(OwnServer):
    """One node under `data`, served on 127.0.0.1. Its queues, port, user and password survive stop, kill and restart.

    `port` None: the port of the last time if it is free, else any. `management` adds the HTTP API (tests use it; it
    costs memory and a slower stop); its address is `management_url`.
    """

    def __init__(
        self, data: Path, port: int | None = None, *, management: bool = False, server: Path | None = None
    ) -> None:
        super().__init__()
        self.data = data.resolve()
        self.log = self.data / "server.log"
        self.management = management
        self._server = server
        self._identity_file = self.data / "identity.json"
        self._identity: dict[str, str | int] = {}
        self._asked_port = port

    @property
    def port(self) -> int:
        """The AMQP port; chosen by the first `launch`."""
        if not self._identity:
            raise RuntimeError("the node was never started")
        return int(self._identity["port"])

    @property
    def url(self) -> str:
        """`amqp://…` of the default virtual host."""
        return self.vhost_url("/")

    def vhost_url(self, vhost: str) -> str:
        """`amqp://…` of a virtual host."""
        name = vhost.replace("/", "%2F")
        return f"amqp://{self._identity['user']}:{self._identity['password']}@127.0.0.1:{self.port}/{name}"

    @property
    def management_url(self) -> str:
        """`http://user:password@…` of the management API."""
        return f"http://{self._identity['user']}:{self._identity['password']}@127.0.0.1:{self._identity['management_port']}"

    def start(self, seconds: float = 60) -> None:
        """Start and return when the port answers AMQP; nothing happens when it runs already."""
        self.launch()
        self.wait(seconds)

    def launch(self) -> None:
        """Start the node without waiting (a boot takes about four seconds, nearly all of it Erlang loading code)."""
        if self.running:
            return
        server = self._server or find_server()
        if server is None:
            raise LocalError("rabbitmq-server is not installed.")
        self.data.mkdir(parents=True, exist_ok=True)
        self._identify()
        self._wait_for_predecessor()
        self._write_configuration()
        rotate(self.log)
        with self.log.open("ab") as log:
            self._process = spawn(
                [str(server)], env=self._environment(), cwd=self.data, output=log, death_signal="TERM"
            )
        self._wanted = True

    def wait(self, seconds: float = 60) -> None:
        """Return when the port answers AMQP; LocalError with the end of the log when that does not happen."""
        wait_for(lambda: answers_amqp(self.port) or not self.running, seconds)
        if not self.running or not answers_amqp(self.port):
            self.kill()
            raise LocalError(f"RabbitMQ did not start. The end of {self.log}:\n{last_lines(self.log)}")

    def stop(self, seconds: float = 15) -> None:
        """Shut the node down properly; killed when that takes longer than `seconds`."""
        self._wanted = False
        if self._process is not None:
            self.thaw()
            terminate(self._process, (signal.SIGTERM, seconds))

    def kill(self) -> None:
        """SIGKILL the node; returns when it is gone."""
        self._wanted = False
        if self._process is not None:
            kill_tree(self._process)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def registered(self, queue: str) -> bool:
        """True once a quorum queue of the default virtual host outlives `kill`.

        RabbitMQ 3.10 writes a new quorum queue's name to its directory about a second late; killed before that, it
        comes back with a queue that has no leader and answers nobody.
        """
        return self._on_disk("quorum", f"%2F_{queue}")

    def streams_registered(self) -> bool:
        """As `registered`, for the process that knows which streams there are."""
        return self._on_disk("coordination", "rabbit_stream_coordinator")

    def _on_disk(self, system: str, name: str) -> bool:
        return any(name.encode() in file.read_bytes() for file in self.data.glob(f"mnesia/*/{system}/*/names.dets"))

    def _identify(self) -> None:
        """Load or make what must survive a restart: node name, user, password, cookie, ports."""
        if self._identity:
            return
        known = json.loads(self._identity_file.read_text()) if self._identity_file.exists() else {}
        made = {
            "node": f"switchyard-{secrets.token_hex(4)}@localhost",
            "user": "switchyard",
            "password": secrets.token_urlsafe(24),
            "cookie": secrets.token_hex(20),
        } | known
        for name in ("port", "distribution_port", "management_port"):
            last = known.get(name)
            made[name] = last if last and ports.is_free(last) else ports.free_port()
        made["port"] = self._asked_port or made["port"]
        self._identity = made
        write_private(self._identity_file, json.dumps(made))

    def _wait_for_predecessor(self) -> None:
        """A node left by a supervisor that died is on its way out; two on the same data would destroy it."""
        file = self.data / "pid"
        pid = int(file.read_text()) if file.exists() and file.read_text().strip().isdigit() else 0

        def serves() -> bool:
            try:
                return pid > 0 and str(self._identity["node"]) in psutil.Process(pid).cmdline()
            except psutil.Error:
                return False

        if not wait_for(lambda: not serves(), 20, 0.1):
            raise LocalError(f"Another RabbitMQ (pid {pid}) uses {self.data}. Stop it first: `switchyard down`.")

    def _write_configuration(self) -> None:
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"default_user = {self._identity['user']}",
            f"default_pass = {self._identity['password']}",
            "loopback_users.guest = true",
            "disk_free_limit.absolute = 256MB",
        ]
        if self.management:
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self._identity['management_port']}"]
        write_private(self.data / "rabbitmq.conf", "\n".join(lines) + "\n")
        (self.data / "enabled_plugins").write_text("[rabbitmq_management].\n" if self.management else "[].\n")
        home = self.data / "home"
        home.mkdir(exist_ok=True)
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, str(self._identity["cookie"]))
            cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        """Everything the node would otherwise look for in the machine's own folders."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        port = self._identity["distribution_port"]
        # Distribution without epmd, the daemon all Erlang nodes of a machine share: none is touched, none is left
        # behind, and the boot is a third of a second shorter.
        distribution = (
            f"-sname {self._identity['node']} -start_epmd false -erl_epmd_port {port}"
            " -kernel inet_dist_use_interface {127,0,0,1}"
        )
        return ours | {
            "HOME": str(self.data / "home"),
            "RABBITMQ_NODENAME": str(self._identity["node"]),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": distribution,
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.data / "rabbitmq.conf"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.data / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.data / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.data / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.data / "pid"),
            # Makes the start script become the Erlang machine instead of waiting beside it: one process, ours to
            # signal.
            "RUNNING_UNDER_SYSTEMD": "true",
            "LC_ALL": "C.UTF-8",
        }
