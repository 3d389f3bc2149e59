"""A broker that may be broken, and clients of the bus that end with their test."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.conftest import require_rabbitmq
from tests.integration.bus.broker import Broker
from tests.integration.bus.clients import Clients
from tests.integration.bus.workshop import Workshop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop the services run on."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The node behind `broker`."""
    require_rabbitmq()
    server = Broker(tmp_path_factory.mktemp("broker"))
    yield server
    server.kill()


@pytest.fixture
def broker(own_broker: Broker) -> Broker:
    """A broker of these tests' own, to be killed, frozen and alarmed; it runs when a test begins."""
    own_broker.thaw()
    own_broker.start()
    return own_broker


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Makes publishers, tails and the like, which end with the test."""
    async with AsyncExitStack() as stack:
        yield Clients(stack)


@pytest.fixture
async def workshop(fresh_amqp_url: str, database_url: str, clients: Clients) -> Workshop:
    """A worker's surroundings: a virtual host and a database of the test's own, with a table for effects."""
    made = Workshop(fresh_amqp_url, database_url, clients)
    await made.prepare()
    return made
