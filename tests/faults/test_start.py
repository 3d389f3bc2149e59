"""Services started before the broker and the database: live at once, not ready, and ready when both are there."""

import asyncio

import httpx
import pytest

from tests.faults.load import Load
from tests.faults.system import System
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


async def test_every_service_waits_for_broker_and_database(system: System) -> None:
    await system.stop_services()
    await asyncio.to_thread(system.broker.stop)
    await asyncio.to_thread(system.database.stop)

    services = system.stack.services
    for child in system.stack.processes.values():
        child.start()
    async with httpx.AsyncClient(timeout=10) as http:

        async def answer(service: str, path: str) -> httpx.Response:
            return await http.get(f"http://127.0.0.1:{system.stack.environment.health_port(service)}{path}")

        async def all_live() -> bool:
            try:
                return all([(await answer(service, "/health/live")).status_code == 200 for service in services])
            except httpx.TransportError:
                return False

        await eventually_async(all_live, 60)
        for service in services:
            said = await answer(service, "/health/ready")
            assert (service, said.status_code) == (service, 503)
            assert "broker" in said.json()["failing"], service
            if service.endswith("worker"):
                assert "database" in said.json()["failing"], service
            assert (await answer(service, "/metrics")).status_code == 200
    restarts = {name: child.restarts for name, child in system.stack.processes.items()}

    await system.broker.start_again()
    system.database.start()
    await system.ready(seconds=30)
    assert {name: child.restarts for name, child in system.stack.processes.items()} == restarts, "none gave up"
    async with Load(system) as load:
        load.start()
        await load.more(50)
        await load.stop()
        await load.assert_once_each()
