"""The broker killed and restarted under load."""

import asyncio

import pytest

from tests.faults.doors import Doors
from tests.faults.load import Load
from tests.faults.system import System

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["killed", "restarted"])
async def test_a_broker_that_went_away_costs_nothing_that_was_accepted(system: System, load: Load, how: str) -> None:
    load.start()
    await load.more(150)
    claim = load.waiting_claim()
    await claim.begin(patience=30)
    if how == "killed":
        await system.broker.crash()
    else:
        await asyncio.to_thread(system.broker.stop)
    assert (await claim.answered()).status_code == 202, "who waits is told at once"
    doors = Doors(load)
    await doors.refuse_questions()
    await doors.keep_writes()
    # Without a broker everything is accepted into the spool.
    await load.more(100)

    await system.broker.start_again()
    # Two or three where nothing else runs.
    assert await load.seconds_until_answered() < 15
    task = await load.command("delegate_task", load.task_for("codex"), expect=201)
    assert await claim.repeated() == [task["task"]["task_id"]]
    # The next one waits at one worker while another runs the batch that has a task for it.
    claim = load.waiting_claim()
    await claim.begin(patience=20)
    began = asyncio.get_running_loop().time()
    await load.command("batch", {"commands": [{"command": "delegate_task", "data": load.task_for("codex")}]})
    assert len((await claim.answered()).json()["tasks"]) == 1
    assert asyncio.get_running_loop().time() - began < 5
    await doors.assert_kept_writes_are_done()
    await doors.assert_keys_are_heard_of()
    await load.more(100)
    await load.stop()

    # Less than 3 where nothing else runs.
    assert load.slowest < 10
    assert set(load.statuses) <= {200, 201, 202}
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before
