"""A broker that is frozen for 30 seconds: its connections stay open, and nothing answers.

Whatever else needs a broker that does not answer is tried meanwhile.
"""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.faults.load import Load
from tests.faults.processes import Ingress
from tests.faults.system import System

pytestmark = pytest.mark.anyio
FROZEN_SECONDS = 30


async def test_a_broker_frozen_for_half_a_minute_costs_nothing_and_keeps_nobody_waiting(
    system: System, load: Load, tmp_path: Path
) -> None:
    load.pause = 0.03
    load.start()
    await load.more(200)
    system.broker.freeze()
    thaw = asyncio.get_running_loop().time() + FROZEN_SECONDS
    load.slowest = 0
    try:
        # The first to notice wait for their confirm, those after them don't.
        await load.more(100)
        assert load.slowest < 3
        load.slowest = 0
        await load.more(100)
        assert load.slowest < 1.5
        assert set(load.statuses) <= {200, 201, 202}

        await _says_what_fails(system)
        await _kills_the_ingress(system, load)
        await _starts_an_ingress(system, tmp_path)
        while asyncio.get_running_loop().time() < thaw:
            load.slowest = 0
            await load.more(20)
            assert load.slowest < 3
            await _pause()
    finally:
        system.broker.thaw()

    assert await load.seconds_until_answered() < 20
    await load.more(100)
    await load.stop()
    await load.assert_once_each()
    assert await system.dead_letters() == system.letters_before
    await system.ready()


async def _says_what_fails(system: System) -> None:
    """Live, ready to take messages, and open about the broker; a question is refused instead of kept waiting."""
    async with httpx.AsyncClient(base_url=system.stack.api_url, timeout=10) as http:
        assert (await http.get("/health/live")).status_code == 200
        assert "broker" in (await http.get("/health/ready")).json()["failing"]
        began = asyncio.get_running_loop().time()
        answer = await http.post(
            "/api/commands/list_sessions", json={}, headers={"X-API-Key": system.stack.api_key, "Prefer": "wait=30"}
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert asyncio.get_running_loop().time() - began < 3


async def _kills_the_ingress(system: System, load: Load) -> None:
    """With its spool filled; it is started again, and takes messages, by the same frozen broker."""
    system.stack.process("ingress").kill()
    await load.more(50)


async def _starts_an_ingress(system: System, folder: Path) -> None:
    """One that has never heard of the broker takes messages all the same."""
    ingress = Ingress(system, folder)
    ingress.start()
    try:
        await ingress.serves()
        async with httpx.AsyncClient(base_url=ingress.url, timeout=10) as http:
            answer = await http.post(
                "/api/commands/create_session", json={}, headers={"X-API-Key": system.stack.api_key}
            )
            assert answer.status_code == 202
        assert await ingress.stop() == 0
    finally:
        ingress.kill()


async def _pause() -> None:
    """Let the two cores of this machine breathe; the load goes on."""
    await asyncio.sleep(0.5)
