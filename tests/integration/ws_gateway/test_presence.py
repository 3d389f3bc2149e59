"""Presence over three real gateways and a real broker."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.messages import new_id
from tests.integration.ws_gateway.processes import Client, GatewayProcess, Process, connected, token
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.anyio

GRACE_SECONDS = 1.0


@pytest.fixture(scope="module")
def gateways(amqp_url: str, worker: Process) -> Iterator[list[GatewayProcess]]:
    """Three gateways with a small grace, which know each other."""
    made = [GatewayProcess(amqp_url, SWITCHYARD_PRESENCE_GRACE_S=str(GRACE_SECONDS)) for _ in range(3)]
    try:
        for process in made:
            Process.start(process)
        for process in made:
            eventually(lambda process=process: process.get("/health/ready")[0] == 200, 40)  # type: ignore[misc]
        for process in made:
            eventually(lambda process=process: process.metric("replicas") == 3)  # type: ignore[misc]
        yield made
    finally:
        for process in made:
            process.signal(signal.SIGTERM)
        for process in made:
            process.stop()


class Listener:
    """Collects the presence events of one agent."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.events: list[dict[str, Any]] = []

    async def hear(self, status: str, seconds: float = 8) -> dict[str, Any]:
        """The next event, which has this status."""
        event = await self.client.receive(seconds)
        self.events.append(event)
        assert event["status"] == status
        return event

    async def hears_nothing(self, seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await self.client.receive(seconds)


@asynccontextmanager
async def listening(gateway: GatewayProcess, agent_id: str) -> AsyncIterator[Listener]:
    async with connected(gateway, token(f"listener-{new_id()}", kind="human", permission="observer")) as client:
        await client.ask("subscribe", topics=[f"agent.{agent_id}.presence"])
        yield Listener(client)


async def test_connecting_changing_and_leaving_are_told_at_every_gateway(gateways: list[GatewayProcess]) -> None:
    here, there, _ = gateways
    async with listening(there, "ana") as listener:
        async with connected(here, token("ana")) as ana:
            event = await listener.hear("online")
            assert (event["agent_id"], event["current_context"], event["active_sidebars"]) == ("ana", "", [])
            await ana.send("agent_presence", status="working", current_context="the parser", specialties=["parsing"])
            event = await listener.hear("working")
            assert (event["current_context"], event["specialties"]) == ("the parser", ["parsing"])
        # Back at another gateway within the grace, as if it had never been away.
        async with connected(there, token("ana")) as ana:
            await ana.send("agent_presence", status="idle")
            event = await listener.hear("idle")
            assert event["current_context"] == "the parser"
        await listener.hear("offline")


async def test_an_agent_speaks_for_itself_alone_and_an_observer_not_at_all(gateways: list[GatewayProcess]) -> None:
    async with connected(gateways[0], token("bea")) as client:
        assert (await client.ask("agent_presence", agent_id="ana", status="idle"))["code"] == "forbidden"
        assert (await client.ask("agent_presence", status="offline"))["code"] == "invalid"
        assert (await client.ask("agent_presence", current_context="x" * 501))["code"] == "invalid"
        assert (await client.ask("agent_presence", specialties=[""]))["code"] == "invalid"
        await client.send("agent_presence", agent_id="bea", status="working")
        assert (await client.ask("ping"))["type"] == "pong"
    async with connected(gateways[0], token("bea", permission="observer")) as client:
        assert (await client.ask("agent_presence", status="idle"))["code"] == "forbidden"


async def test_a_second_connection_at_another_gateway_is_closed(gateways: list[GatewayProcess]) -> None:
    async with connected(gateways[0], token("cid")) as first, connected(gateways[2], token("cid")) as second:
        began = time.monotonic()
        assert await second.close_code() == 4409
        assert time.monotonic() - began < 3
        assert "already" in (second.socket.close_reason or "")
        assert (await first.ask("ping"))["type"] == "pong"


async def test_a_killed_gateway_is_missed_at_once_its_agents_after_the_grace_and_who_comes_back_is_let_in(
    gateways: list[GatewayProcess],
) -> None:
    dies, here, there = gateways
    async with (
        listening(here, "dan") as of_dan,
        listening(there, "eva") as of_eva,
        connected(dies, token("dan")),
        connected(dies, token("eva")),
    ):
        await of_dan.hear("online")
        await of_eva.hear("online")
        eventually(lambda: there.metric("agents", status="online") == 4)
        dies.signal(signal.SIGKILL)
        killed_at = time.monotonic()
        async with connected(here, token("dan")) as back:

            async def seen() -> bool:
                told = await asyncio.gather(
                    *(asyncio.to_thread(gateway.metric, "replicas") for gateway in (here, there)),
                    *(asyncio.to_thread(gateway.metric, "agents", status="online") for gateway in (here, there)),
                )
                return told == [2, 2, 3, 3]  # Dan and two listeners

            await eventually_async(seen, 5, because="the other gateways see the death")
            took = time.monotonic() - killed_at
            assert took < 2.5, f"it took {took:.1f} s"  # two seconds, and what a busy machine adds
            await of_eva.hear("offline")
            await of_dan.hears_nothing(GRACE_SECONDS + 0.5)
            await of_eva.hears_nothing(0.1)
            assert (await back.ask("ping"))["type"] == "pong"
