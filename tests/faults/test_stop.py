"""SIGTERM at full load: nothing is lost, nothing is done twice, and nothing new is among the dead letters."""

import asyncio
import time

import pytest

from tests.faults.load import Load
from tests.faults.system import System

pytestmark = pytest.mark.anyio


async def test_services_stopped_and_started_under_load_cost_nothing(system: System, load: Load) -> None:
    load.pause = 0
    claim = load.waiting_claim()
    load.start()
    for name in ("memory_worker", "task_worker", "session_worker", "ws_gateway", "ingress"):
        await load.more(100)
        child = system.stack.process(name)
        if name == "task_worker":
            await claim.begin(patience=30)
        began = time.monotonic()
        assert await asyncio.to_thread(child.stop), f"{name} stopped by itself"
        assert time.monotonic() - began < 15
        assert (name, child.returncode) == (name, 0)
        if name == "task_worker":
            assert (await claim.answered()).json() == {"tasks": []}
        child.start()
    await load.more(100)
    await load.stop()
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before
