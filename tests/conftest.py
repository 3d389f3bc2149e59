"""Real servers for the tests: one PostgreSQL, one RabbitMQ, a fresh database and virtual host for whoever asks.

All of it lives in one temporary folder on ports of its own, and ends with the run, even when the run is killed.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from cli.local.environment import free_environment
from cli.local.postgres import Postgres
from cli.local.processes import LocalError, last_lines
from cli.local.rabbitmq import RabbitMQ, find_server
from cli.local.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = "switchyard_template"

_numbers = count(1)


def pytest_configure() -> None:
    """Take Ctrl-C as usual, also in a shell's background: what is started here would ignore it too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """The folder of this run's servers; folders of runs that were killed are removed first."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob("switchyard-test-*"):
        pid = left.name.split("-")[2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"switchyard-test-{os.getpid()}-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(run_folder: Path) -> Iterator[Postgres]:
    """The run's PostgreSQL. Shared: tests that stop or kill a server take `make_postgres`."""
    server = Postgres(run_folder / "postgres")
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture(scope="session")
def rabbitmq(run_folder: Path) -> Iterator[RabbitMQ]:
    """The run's RabbitMQ, with the management API. Shared: tests that stop or kill a broker take `make_rabbitmq`."""
    require_rabbitmq()
    server = RabbitMQ(run_folder / "rabbitmq", management=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def make_postgres(tmp_path: Path) -> Iterator[Callable[[], Postgres]]:
    """Makes servers of a test's own (not started), which end with the test."""
    made: list[Postgres] = []

    def make() -> Postgres:
        made.append(Postgres(tmp_path / f"postgres-{len(made)}"))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def make_rabbitmq(tmp_path: Path) -> Iterator[Callable[[], RabbitMQ]]:
    """Makes brokers of a test's own (not started), which end with the test."""
    require_rabbitmq()
    made: list[RabbitMQ] = []

    def make() -> RabbitMQ:
        made.append(RabbitMQ(tmp_path / f"rabbitmq-{len(made)}"))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A migrated database from which the others are copied, which takes 30 ms where migrating takes a second."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"create database {TEMPLATE}")
    migrate(database_of(postgres, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(postgres: Postgres, template: str) -> Iterator[str]:
    """A fresh, migrated database for one test."""
    yield from copy_of(postgres, template)


@pytest.fixture(scope="module")
def module_database_url(postgres: Postgres, template: str) -> Iterator[str]:
    """A fresh, migrated database for one module."""
    yield from copy_of(postgres, template)


@pytest.fixture(scope="session")
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """A database without tables, for tests of the migrations."""
    yield from copy_of(postgres, "template1")


@pytest.fixture(scope="module")
def amqp_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A fresh virtual host for one module."""
    yield from vhost_of(rabbitmq)


@pytest.fixture
def fresh_amqp_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A fresh virtual host for one test (10 ms)."""
    yield from vhost_of(rabbitmq)


@pytest.fixture(scope="module")
def stack(
    module_database_url: str, amqp_url: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stack]:
    """Every service, on the run's servers with a database and a virtual host of the module's own."""
    yield from running_stack(module_database_url, amqp_url, tmp_path_factory, request)


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Makes stacks of a test's own (not started), with servers of their own unless told a URL; they end with the test.

    `make_stack(services=[…], **environment)`.
    """
    require_rabbitmq()
    made: list[Stack] = []

    def make(services: list[str] | None = None, **environment: str) -> Stack:
        made.append(Stack(tmp_path / f"stack-{len(made)}", free_environment(**environment), services))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def running_stack(
    database_url: str,
    amqp_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    **values: str,
) -> Iterator[Stack]:
    """Every service on these servers; when tests have failed, the end of its log is shown."""
    environment = free_environment(DATABASE_URL=database_url, AMQP_URL=amqp_url, **values)
    data = tmp_path_factory.mktemp("stack")
    with Stack(data, environment) as running:
        yield running
    if request.session.testsfailed:
        sys.stderr.write(f"--- end of the stack's log ---\n{last_lines(data / 'stack.log', 60)}\n")


def require_rabbitmq() -> None:
    """Skip where there is no RabbitMQ to run; in CI that is a failure."""
    if find_server() is None:
        reason = "rabbitmq-server is not installed (`make test` installs it)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def database_of(server: Postgres, name: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(server.url)._replace(path=f"/{name}").geturl()


def migrate(url: str) -> None:
    """`alembic upgrade head` on a database."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LocalError(f"the migrations failed:\n{done.stdout}{done.stderr}")


def copy_of(server: Postgres, template: str) -> Iterator[str]:
    """A database of one's own, copied from another; it goes with the iterator."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    yield database_of(server, name)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def vhost_of(server: RabbitMQ) -> Iterator[str]:
    """A virtual host of one's own; it goes with the iterator."""
    name = f"test-{next(_numbers)}"
    _manage(server, "PUT", f"/api/vhosts/{name}")
    yield server.vhost_url(name)
    _manage(server, "DELETE", f"/api/vhosts/{name}")


def _manage(server: RabbitMQ, method: str, path: str) -> None:
    """One request to the management API; urllib does not read a password out of a URL."""
    parts = urlsplit(server.management_url)
    token = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    request = urllib.request.Request(f"http://127.0.0.1:{parts.port}{path}", method=method)
    request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, timeout=30):
        pass
