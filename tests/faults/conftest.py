"""One system of real processes for all of these tests; each begins with it mended."""

import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import require_rabbitmq
from tests.faults.load import Load
from tests.faults.system import System


@pytest.fixture
def anyio_backend() -> str:
    """The tests' own event loop."""
    return "asyncio"


@pytest.fixture(scope="package")
def running_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The processes behind `system`."""
    require_rabbitmq()
    made = System(tmp_path_factory.mktemp("faults"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def system(running_system: System, request: pytest.FixtureRequest) -> Iterator[System]:
    """Every service, ready; when the test fails, the end of their log is shown."""
    running_system.mend()
    failed = request.session.testsfailed
    yield running_system
    if request.session.testsfailed > failed:
        sys.stderr.write(f"--- end of the services' log ---\n{running_system.log}\n")


@pytest.fixture
async def load(system: System) -> AsyncIterator[Load]:
    """Clients of the ingress; nothing is sent before `load.start()`."""
    async with Load(system) as made:
        yield made
