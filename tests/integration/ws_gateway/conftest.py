"""A gateway with what it needs, for each module."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.integration.ws_gateway.processes import GatewayProcess, Process, Source, session_worker


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop the services run on."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
def worker(amqp_url: str, module_database_url: str) -> Iterator[Process]:
    """The session worker."""
    process = session_worker(amqp_url, module_database_url)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def gateway(amqp_url: str, worker: Process) -> Iterator[GatewayProcess]:
    """A gateway that is ready."""
    process = GatewayProcess(amqp_url)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def make_gateway(amqp_url: str, worker: Process) -> Iterator[Callable[..., GatewayProcess]]:
    """Makes gateways of a test's own (not started), which end with the test."""
    made: list[GatewayProcess] = []

    def make(**settings: str) -> GatewayProcess:
        made.append(GatewayProcess(amqp_url, **settings))
        return made[-1]

    yield make
    for process in made:
        process.stop()


@pytest.fixture
async def source(amqp_url: str) -> AsyncIterator[Source]:
    """Publishes events."""
    async with Source(amqp_url) as publishing:
        yield publishing
