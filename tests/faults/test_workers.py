"""Workers killed with SIGKILL: at each moment that matters, and at any moment under load."""

from pathlib import Path

import pytest

from tests.faults.crashing import MARK, MOMENTS
from tests.faults.kinds import KINDS
from tests.faults.load import Load
from tests.faults.processes import Process
from tests.faults.system import WORKERS, System

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_worker_killed_in_the_middle_leaves_one_effect_and_its_event(
    system: System, tmp_path: Path, moment: str
) -> None:
    """Each of the workers, with a whole batch of each kind of command before it."""
    async with Load(system, session_id=f"{MARK}-{moment}", mark=f"{MARK}-") as load:
        await system.stop_services(*WORKERS)
        for kind in KINDS:
            for _ in range(12):
                message = load.message(kind)
                assert await load.send(message._replace(headers=message.headers | {"Prefer": "respond-async"}))
        assert load.statuses == {202: 12 * len(KINDS)}

        crashing = [Process(system, tmp_path, "tests.faults.crashing", worker, moment) for worker in WORKERS]
        try:
            for process in crashing:
                process.start()
            assert [await process.ended() for process in crashing] == [-9, -9, -9]
        finally:
            for process in crashing:
                process.kill()

        effects, told = await load.effects(), load.told()
        if moment == "before_commit":
            assert not effects
        else:
            assert len({load.accepted[message] for message in effects}) >= 3, "a kind of each worker"
        if moment == "after_commit":
            assert not set(told) & set(effects)

        for worker in WORKERS:
            system.stack.process(worker).start()
        await load.assert_once_each()
        assert await system.dead_letters() == system.letters_before


async def test_workers_killed_at_any_moment_cost_nothing(system: System, load: Load) -> None:
    claim = load.waiting_claim()
    load.start()
    for worker in WORKERS:
        await load.more(120)
        if worker == "task_worker":
            await claim.begin(patience=2)
        system.stack.process(worker).kill()
    # Whoever waited there got no answer; asking again under the same id, he is given what there is.
    assert (await claim.answered()).status_code == 202
    task = await load.command("delegate_task", load.task_for("codex"), expect=201)
    assert await claim.repeated() == [task["task"]["task_id"]]
    await load.more(120)
    await load.stop()
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before
