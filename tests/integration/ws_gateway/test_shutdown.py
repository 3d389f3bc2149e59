"""A gateway that is ordered to shut down, as its clients and its supervisor see it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from shared.messages import Event
from shared.messages.live import EmergencyShutdownWarning, MaintenanceShutdown, Shutdown, SystemShutdown
from tests.integration.ws_gateway.processes import GatewayProcess, Source, connected, token
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


def order(mode: str, *, gateway_id: str | None = None, countdown: int = 0, **more: Any) -> Event:
    kinds = {"clean": SystemShutdown, "maintenance": MaintenanceShutdown, "emergency": EmergencyShutdownWarning}
    return kinds[mode](
        shutdown=Shutdown(
            mode=mode, reason="a new version", gateway_id=gateway_id, countdown_seconds=countdown, ordered_by="ada"
        ),
        message="a new version", countdown_seconds=countdown or None, urgency="critical", priority="critical", **more,
    )  # fmt: skip


async def test_an_emergency_counts_down_and_lets_nobody_in(
    make_gateway: Callable[..., GatewayProcess], source: Source
) -> None:
    gateway = make_gateway()
    gateway.start()
    async with connected(gateway) as client:
        await source.send("system.shutdown", order("emergency", countdown=2).encoded())
        eventually(lambda: gateway.get("/health/ready")[0] == 503)
        assert "shuts down" in gateway.get("/health/ready")[1]
        with pytest.raises(InvalidStatus) as refused:
            await connect(gateway.url)
        assert refused.value.response.status_code == 503
        frame = await client.receive()
        while "shutdown" in frame:
            frame = await client.receive()
        assert frame == {
            "type": "emergency_shutdown_warning", "countdown_seconds": 1, "urgency": "critical",
            "message": "The gateway shuts down in 1 s, for an emergency: a new version",
        }  # fmt: skip
        assert await client.close_code() == 1012
        assert client.socket.close_reason == "emergency shutdown; resume from cursor"
    assert gateway.wait(10) == 0


async def test_everything_before_a_clean_shutdown_is_written_and_its_successor_does_not_obey_again(
    make_gateway: Callable[..., GatewayProcess], source: Source
) -> None:
    gateway = make_gateway()
    gateway.start()
    async with connected(gateway) as client:
        await client.ask("subscribe", topics=["session.#"])
        numbers = await source.publish(300, size=1000)
        await source.send("system.shutdown", order("clean").encoded())
        events = [frame for frame in [await client.receive() for _ in numbers] if frame["type"] != "system_shutdown"]
        assert len(events) >= len(numbers) - 1
        assert await client.close_code() == 1012
        assert client.socket.close_reason == "shutdown; resume from cursor"
    assert gateway.wait(10) == 0
    gateway.start()
    async with connected(gateway) as client:
        await source.send("system.shutdown", order("clean", gateway_id="another").encoded())
        (number,) = await source.publish(topic="session.s9.insight")
        answer = await client.ask("subscribe", topics=["session.s9.#"], since=events[-1]["cursor"])
        assert answer["recovered"] is True
        frame = await client.receive()
        while frame["type"] == "system_shutdown":
            frame = await client.receive()
        assert frame["insight"]["number"] == number
        # SIGTERM would close it with 1012 as well, but not by an order.
        assert gateway.get("/health/ready")[0] == 200


async def test_maintenance_is_ordered_by_a_command_for_one_gateway_and_leaves_time_to_read(
    gateway: GatewayProcess, make_gateway: Callable[..., GatewayProcess]
) -> None:
    other = make_gateway()
    other.start()
    chief_token = token("the admin", kind="human", scopes=["admin"])
    async with connected(gateway, chief_token) as chief, connected(other, token("ana")) as client:
        state = await client.ask("command", message_id="m1", command="get_state", data={})
        order = {"mode": "maintenance", "reason": "a new disk", "gateway_id": state["result"]["gateway"]["gateway_id"]}
        refused = await client.ask("command", message_id="m2", command="shut_down_gateway", data=order)
        assert refused["code"] == "forbidden"
        await chief.ask("command", message_id="m1", command="shut_down_gateway", data=order)
        message = await client.receive()
        told_at = time.monotonic()
        assert (message["type"], message["urgency"]) == ("maintenance_shutdown", "normal")
        assert message["message"] == "The gateway shuts down for maintenance: a new disk"
        assert await client.close_code() == 1012
        assert client.socket.close_reason == "maintenance shutdown; resume from cursor"
        assert time.monotonic() - told_at > 1
        # Who is at another gateway is not told of it.
        await chief.send("ping")
        assert (await chief.receive())["type"] == "pong"
        assert other.wait(10) == 0
        question = {"message_id": "m2", "command": "list_audit", "data": {"command": "gateway.shutdown"}}
        (entry,) = (await chief.ask("command", **question))["result"]["entries"][:1]
        assert (entry["target"], entry["outcome"]) == (order["gateway_id"], "maintenance, ordered by the admin")
