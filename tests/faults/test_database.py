"""The database restarted and killed under load."""

import asyncio

import pytest

from tests.faults.doors import Doors
from tests.faults.load import Load
from tests.faults.system import System

pytestmark = pytest.mark.anyio


async def test_a_restarted_database_costs_nothing(system: System, load: Load) -> None:
    doors = Doors(load)
    load.start()
    await load.more(150)
    await asyncio.to_thread(system.database.stop)
    await doors.refuse_questions()
    await doors.keep_writes()
    system.database.start()
    assert await load.seconds_until_answered() < 10
    await load.more(100)
    await doors.assert_kept_writes_are_done()
    await load.stop()
    assert set(load.statuses) <= {200, 201, 202}
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before


async def test_a_killed_database_costs_nothing(system: System, load: Load) -> None:
    load.start()
    await load.more(150)
    await system.crash_database()
    assert await load.seconds_until_answered() < 10
    await load.more(100)
    await load.stop()
    assert set(load.statuses) <= {200, 201, 202}
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before
