"""The database restarted and killed under load."""

import pytest

from tests.faults.load import Load
from tests.faults.system import System

pytestmark = pytest.mark.anyio


async def test_a_restarted_database_costs_nothing(system: System, load: Load) -> None:
    load.start()
    await load.more(300)
    await system.restart_database()
    assert await load.seconds_until_answered() < 10
    await load.more(200)
    await load.stop()
    assert set(load.statuses) <= {200, 201, 202}
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before


async def test_a_killed_database_costs_nothing(system: System, load: Load) -> None:
    load.start()
    await load.more(300)
    await system.crash_database()
    assert await load.seconds_until_answered() < 10
    await load.more(200)
    await load.stop()
    assert set(load.statuses) <= {200, 201, 202}
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before
