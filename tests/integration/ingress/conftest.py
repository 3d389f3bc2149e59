"""The ingress as a process, before a real RabbitMQ; no worker is there, so what it publishes stays in the queues."""

import asyncio
import hmac
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.local.ports import free_port
from shared.bus.bodies import unpacked
from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.topology import declare
from shared.messages import Command, decode_command
from tests.conftest import require_rabbitmq
from tests.integration.bus.broker import Broker
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
GITHUB = ROOT.parent / "shared" / "fixtures" / "github"
KEY = "integration-test-key-0123456789"
SECRET = "integration-test-secret-0123456789-0123456789"
GITHUB_SECRET = "github-integration-secret"
SOURCES = """
[sources.helper]
scheme = "campfire"
secret = "campfire-token"
"""


class Ingress:
    """One ingress process; stopped, killed and started again by the tests."""

    def __init__(self, folder: Path, amqp_url: str, **settings: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / f"ingress-{self.port}.log"
        toml = folder / "switchyard.toml"
        toml.write_text(SOURCES)
        self._environment = {
            **os.environ,
            "AMQP_URL": amqp_url,
            "SWITCHYARD_API_KEY": KEY,
            "SWITCHYARD_SECRET": SECRET,
            "GITHUB_WEBHOOK_SECRET": GITHUB_SECRET,
            "SWITCHYARD_INGRESS_PORT": str(self.port),
            "SWITCHYARD_DATA": str(folder),
            "SWITCHYARD_CONFIG": str(toml),
            "SWITCHYARD_LOG_FORMAT": "json",
            **{name: str(value) for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers={"X-API-Key": KEY}, timeout=30)

    def start(self, *, ready: bool = True) -> "Ingress":
        """Start; return when it is ready, or only listens."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.ingress"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        eventually(lambda: self.health("ready" if ready else "live") == 200, 30)
        return self

    def health(self, kind: str) -> int:
        """The status of a health check; 0 when nothing listens."""
        try:
            return self.http.get(f"/health/{kind}").status_code
        except httpx.TransportError:
            return 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, seconds: float = 15) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def github(self, body: bytes, delivery: str, event: str = "push", **headers: str) -> httpx.Response:
        """A delivery as GitHub sends it."""
        seal = "sha256=" + hmac.new(GITHUB_SECRET.encode(), body, "sha256").hexdigest()
        return self.http.post(
            "/webhook",
            content=body,
            headers={
                "Content-Type": "application/json",
                "X-GitHub-Event": event,
                "X-GitHub-Delivery": delivery,
                "X-Hub-Signature-256": seal,
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )

    def metric(self, name: str) -> float:
        """A figure of /metrics without labels."""
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def close(self) -> None:
        self.kill()
        self.http.close()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop the services run on."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
def make_ingress(tmp_path: Path) -> Iterator[Callable[..., Ingress]]:
    """Makes ingress processes (not started), which end with the test."""
    made: list[Ingress] = []

    def make(amqp_url: str, **settings: Any) -> Ingress:
        made.append(Ingress(tmp_path, amqp_url, **settings))
        return made[-1]

    yield make
    for ingress in made:
        ingress.close()


@pytest.fixture(scope="module")
def ingress(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    """A running ingress for the tests of one module."""
    running = Ingress(tmp_path_factory.mktemp("ingress"), amqp_url)
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture(scope="session")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The node behind `broker`."""
    require_rabbitmq()
    server = Broker(tmp_path_factory.mktemp("broker"))
    yield server
    server.kill()


@pytest.fixture
def broker(own_broker: Broker) -> Broker:
    """A broker of these tests' own, to be killed and frozen; it runs, with empty queues, when a test begins."""
    own_broker.thaw()
    own_broker.start()
    asyncio.run(take(own_broker.url, "webhook.commands", at_least=0))
    asyncio.run(take(own_broker.url, "session.commands", at_least=0))
    return own_broker


async def take(url: str, queue: str, *, at_least: int, seconds: float = 20) -> list[Command]:
    """Take commands off a queue, in order, until there are this many and no more come."""
    return [decode_command(unpacked(delivery)) for delivery in await take_raw(url, queue, at_least, seconds)]


async def take_raw(url: str, queue: str, at_least: int, seconds: float = 20) -> list[Delivery]:
    """As `take`, undecoded."""
    found: list[Delivery] = []
    async with await Connection.open(url, name="test") as connection:
        await declare(connection)

        def on_deliveries(deliveries: list[Delivery]) -> None:
            found.extend(deliveries)
            connection.ack(deliveries[-1].tag, multiple=True)

        await connection.consume(queue, on_deliveries, prefetch=1000)
        end = time.monotonic() + seconds
        quiet_since, seen = time.monotonic(), 0
        while time.monotonic() < end:
            if len(found) != seen:
                quiet_since, seen = time.monotonic(), len(found)
            if len(found) >= at_least and time.monotonic() - quiet_since > 0.3:
                break
            await asyncio.sleep(0.02)
    assert len(found) >= at_least, f"{len(found)} of {at_least} messages came"
    return found
