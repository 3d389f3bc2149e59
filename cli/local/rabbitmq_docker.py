"""A RabbitMQ of our own in a container, where the machine has a Docker engine but no RabbitMQ."""

import json
import secrets
import shutil
import subprocess
from pathlib import Path

from cli.local import ports
from cli.local.processes import LocalError, wait_for, write_private
from cli.local.rabbitmq import answers_amqp

IMAGE = "rabbitmq:4"


def engine_answers() -> bool:
    """True when a Docker engine can be used."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


class DockerRabbitMQ:
    """One container whose data lies in a volume of the same name; to the outside like `cli.local.rabbitmq.RabbitMQ`."""

    def __init__(self, data: Path, port: int | None = None) -> None:
        self.data = data.resolve()
        self._identity_file = self.data / "docker.json"
        self._identity: dict[str, str | int] = {}
        self._asked_port = port
        self._wanted = False

    @property
    def port(self) -> int:
        """The AMQP port on this machine; chosen by the first `launch`."""
        if not self._identity:
            raise RuntimeError("the container was never started")
        return int(self._identity["port"])

    @property
    def url(self) -> str:
        """`amqp://…` of the default virtual host."""
        return f"amqp://{self._identity['user']}:{self._identity['password']}@127.0.0.1:{self.port}/%2F"

    @property
    def pid(self) -> int | None:
        """The broker's process id as the engine's host sees it, while it runs."""
        pid = self._inspect("{{.State.Pid}}")
        return int(pid) if pid.isdigit() and pid != "0" else None

    @property
    def running(self) -> bool:
        """True while the container runs, frozen or not."""
        return self._inspect("{{.State.Running}}") == "true"

    @property
    def crashed(self) -> bool:
        """True when it ended though nobody asked it to."""
        return self._wanted and not self.running

    def start(self, seconds: float = 180) -> None:
        """Start and return when the port answers AMQP; the first time the image is pulled."""
        self.launch()
        self.wait(seconds)

    def launch(self) -> None:
        """Start the container without waiting for the broker in it."""
        self._identify()
        name = str(self._identity["name"])
        if not self._inspect("{{.Id}}"):
            create = ["create", "--name", name, "--hostname", "switchyard", "-v", f"{name}:/var/lib/rabbitmq"]
            create += ["-p", f"127.0.0.1:{self.port}:5672", "--env-file", str(self.data / "docker.env"), IMAGE]
            self._docker(*create)
        self._docker("start", name)
        self._wanted = True

    def wait(self, seconds: float = 180) -> None:
        """Return when the port answers AMQP; LocalError with the end of the container's log when it does not."""
        if not wait_for(lambda: answers_amqp(self.port), seconds, 0.1):
            log = subprocess.run(
                ["docker", "logs", "--tail", "15", str(self._identity["name"])],
                capture_output=True,
                text=True,
                check=False,
            )
            self.kill()
            raise LocalError(f"RabbitMQ in Docker did not start:\n{log.stdout}{log.stderr}")

    def stop(self, seconds: float = 15) -> None:
        """Shut the broker down properly; the engine kills it after `seconds`."""
        self._wanted = False
        if self.running:
            self._docker("stop", "--time", str(int(seconds)), str(self._identity["name"]))

    def kill(self) -> None:
        """SIGKILL the broker."""
        self._wanted = False
        if self.running:
            self._docker("kill", str(self._identity["name"]))

    def freeze(self) -> None:
        """Stop the container's time: connections stay open and nothing answers."""
        self._docker("pause", str(self._identity["name"]))

    def thaw(self) -> None:
        """Let it run on after `freeze`."""
        self._docker("unpause", str(self._identity["name"]))

    def _identify(self) -> None:
        if self._identity:
            return
        self.data.mkdir(parents=True, exist_ok=True)
        made: dict[str, str | int] = {
            "name": f"switchyard-rabbitmq-{secrets.token_hex(4)}",
            "user": "switchyard",
            "password": secrets.token_urlsafe(24),
            "port": self._asked_port or ports.free_port(),
        }
        if self._identity_file.exists():
            made |= json.loads(self._identity_file.read_text())  # a container keeps the port it was made with
        self._identity = made
        write_private(self._identity_file, json.dumps(made))
        login = f"RABBITMQ_DEFAULT_USER={made['user']}\nRABBITMQ_DEFAULT_PASS={made['password']}\n"
        write_private(self.data / "docker.env", login)

    def _inspect(self, template: str) -> str:
        if not self._identity:
            return ""
        done = subprocess.run(
            ["docker", "container", "inspect", "-f", template, str(self._identity["name"])],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def _docker(self, *words: str) -> None:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LocalError(f"`docker {words[0]}` failed: {done.stderr.strip()}")
