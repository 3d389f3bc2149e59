"""The whole of Switchyard on this machine: database, broker, migrations and services, started and stopped in order."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cli.local import rabbitmq_install
from cli.local.environment import ROOT, Environment, available_services
from cli.local.merged_log import MergedLog
from cli.local.postgres import Postgres
from cli.local.processes import LocalError, wait_for
from cli.local.rabbitmq import RabbitMQ
from cli.local.rabbitmq_docker import DockerRabbitMQ
from cli.local.supervisor import Child, Supervisor
from shared.bus.topology import QUEUES

Broker = RabbitMQ | DockerRabbitMQ

# All of a stop takes at most the sum of these.
SERVICES_GRACE = 14.0
SERVERS_GRACE = 5.0
# A service that has ended with an error so often in a row is not waited for.
FALLS = 3


class Stack:
    """Database, broker and services under one folder.

    Servers are started only where the environment names none. Several stacks run side by side when their folders and
    ports differ (`free_environment` finds such ports). `log` is where the merged log goes; without it, to `stack.log`
    in the folder. Use as a context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        data: Path,
        environment: Environment,
        services: Sequence[str] | None = None,
        *,
        log: MergedLog | None = None,
        children: Iterable[Child] = (),
    ) -> None:
        """`services` None: all this checkout has. `children`: more processes to look after, such as a test's fakes."""
        self.data = data.resolve()
        self._given = environment.with_values({"SWITCHYARD_DATA": str(self.data)})
        self.environment = self._given
        self.services = list(available_services() if services is None else services)
        self.postgres: Postgres | None = None
        self.rabbitmq: Broker | None = None
        self.timings: dict[str, float] = {}
        self._log: MergedLog
        self._given_log = log
        self._extra = list(children)
        self._children: dict[str, Child] = {}
        self._supervisor: Supervisor | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def database_url(self) -> str:
        """The database in use."""
        return self.environment.get("DATABASE_URL")

    @property
    def amqp_url(self) -> str:
        """The broker in use."""
        return self.environment.get("AMQP_URL")

    @property
    def api_url(self) -> str:
        """`http://…` of the ingress."""
        return self.environment.api_url

    @property
    def gateway_url(self) -> str:
        """`ws://…/ws` of the gateway."""
        return self.environment.gateway_url

    @property
    def api_key(self) -> str:
        """The bootstrap key."""
        return self.environment.get("SWITCHYARD_API_KEY")

    @property
    def processes(self) -> dict[str, Child]:
        """Every supervised process by name."""
        return dict(self._children)

    def process(self, name: str) -> Child:
        """One supervised process: `kill()` crashes it, `stop()` and `start()` take it away and bring it back."""
        return self._children[name]

    def start(self, seconds: float = 120) -> None:
        """Return when every service is ready; when one does not get so, LocalError, and everything is stopped."""
        begun = time.monotonic()
        self.data.mkdir(parents=True, exist_ok=True)
        self._stopping.clear()
        self.environment = self._given
        self._log = self._given_log or MergedLog.to_file(self.data / "stack.log")
        self._supervisor = Supervisor(self._log.line)
        self._supervisor.start()
        try:
            self._start_servers(self._supervisor)
            self._mark("PostgreSQL", begun)
            self.migrate()
            self._mark("migrations", begun)
            for child in [*(self._child(name) for name in self.services), *self._extra]:
                self._children[child.name] = child
                self._supervisor.add(child)
                child.start()
            if self.rabbitmq is not None:
                self.rabbitmq.wait(seconds)
                self._supervisor.watch("RabbitMQ", self.rabbitmq)
                self._mark("RabbitMQ", begun)
            self.wait_ready(self.services, seconds)
            self._settle()
            self._mark("ready", begun)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop services, then broker and database, within 20 seconds; what does not go in time is killed."""
        self._stopping.set()
        if self._supervisor is None:
            return
        self._supervisor.unwatch()
        with ThreadPoolExecutor(16) as pool:
            stopped = dict(
                zip(self._children, pool.map(lambda c: c.stop(SERVICES_GRACE), self._children.values()), strict=True)
            )
            for name in (name for name, well in stopped.items() if not well):
                self._supervisor.say(f"{name} did not stop in {SERVICES_GRACE:g} s and was killed")
            if self.rabbitmq is not None:
                pool.submit(self.rabbitmq.stop, SERVERS_GRACE)
            if self.postgres is not None:
                pool.submit(self.postgres.stop)
        self._supervisor.close()
        self._supervisor = None
        if self._given_log is None:
            self._log.close()

    def abort(self) -> None:
        """Make a `start` or `wait_ready` that is under way give up."""
        self._stopping.set()

    def migrate(self) -> None:
        """Bring the database to the newest schema; LocalError with what Alembic said when that fails."""
        if not (ROOT / "alembic.ini").exists():
            return
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment.for_children(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LocalError(f"The migrations failed:\n{(done.stdout + done.stderr).strip()}")

    def wait_ready(self, services: Iterable[str] | None = None, seconds: float = 120) -> None:
        """Return when these services (default: all) are ready; LocalError names those that are not, and why.

        One that keeps ending by itself is not waited for: what it minds, such as a wrong setting, stays as it is.
        """
        waiting = list(self.services if services is None else services)
        reasons: dict[str, str] = {}
        deadline = time.monotonic() + seconds
        while waiting:
            for name in list(waiting):
                ready, reasons[name] = self.health(name)
                if ready:
                    waiting.remove(name)
            if falling := [name for name in waiting if self._falls(name) >= FALLS]:
                texts = [f"{name} ended {FALLS} times:\n{self._recent(name)}" for name in falling]
                raise LocalError("Given up:\n" + "\n".join(texts))
            if waiting and (self._stopping.wait(0.1) or time.monotonic() > deadline):
                break
        if waiting:
            texts = [f"{name}: {reasons[name]}\n{self._recent(name)}" for name in waiting]
            raise LocalError(f"Not ready after {seconds:g} s:\n" + "\n".join(texts))

    def _falls(self, name: str) -> int:
        child = self._children.get(name)
        return child.falls if child else 0

    def _settle(self, seconds: float = 10) -> None:
        """After the first start, wait the second until our own broker would come back whole from a kill -9."""
        broker = self.rabbitmq
        if not isinstance(broker, RabbitMQ) or not self.services:
            return
        queues = [queue.name for queue in QUEUES if queue.arguments.get("x-queue-type") == "quorum"]
        wait_for(lambda: broker.streams_registered() and all(map(broker.registered, queues)), seconds, 0.05)

    def health(self, service: str) -> tuple[bool, str]:
        """Whether a service is ready, and what its health page says, or why it could not be asked."""
        return ready(self.environment.health_port(service))

    def describe(self) -> dict[str, object]:
        """What `switchyard status` and `switchyard down` need to know about a running stack."""
        return {
            "pid": os.getpid(),
            "api_url": self.api_url,
            "gateway_url": self.gateway_url,
            "services": {name: self.environment.health_port(name) for name in self.services},
            "postgres": self.postgres.port if self.postgres else None,
            "rabbitmq": self.rabbitmq.port if self.rabbitmq else None,
            "database_url": self.database_url,
            "amqp_url": self.amqp_url,
        }

    def _start_servers(self, supervisor: Supervisor) -> None:
        """Broker first, since it boots longest."""
        values: dict[str, str] = {}
        if not self.amqp_url:
            self.rabbitmq = rabbitmq_install.provide(self.data / "rabbitmq", say=supervisor.say)
            self.rabbitmq.launch()
            values["AMQP_URL"] = self.rabbitmq.url
        if not self.database_url:
            self.postgres = Postgres(self.data / "postgres")
            self.postgres.start()
            supervisor.watch("PostgreSQL", self.postgres)
            values["DATABASE_URL"] = self.postgres.url
        self.environment = self.environment.with_values(values)

    def _child(self, service: str) -> Child:
        command = [sys.executable, "-m", f"services.{service}"]
        return Child(service, command, env=self.environment.for_children(), cwd=ROOT)

    def _recent(self, name: str) -> str:
        child = self._children.get(name)
        return "\n".join(f"    {line}" for line in list(child.recent)[-12:]) if child else ""

    def _mark(self, what: str, begun: float) -> None:
        self.timings[what] = round(time.monotonic() - begun, 2)


def ready(port: int) -> tuple[bool, str]:
    """Ask `/health/ready` on a port: whether it is 200, and what it says, or why it could not be asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer on port {port} ({getattr(error, 'strerror', None) or error})"
    finally:
        connection.close()
    try:
        text = json.dumps(json.loads(body))
    except ValueError:
        text = body.strip()
    return answer.status == 200, text[:300]
