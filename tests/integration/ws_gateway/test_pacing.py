"""Slow connections that get their events by their own preference, and critical events that are not acknowledged."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.integration.ws_gateway.processes import Client, GatewayProcess, Source, connected, insight, token
from tests.integration.ws_gateway.test_slow import slow_client
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TOPIC = "session.s1.insight"
MODES = {"summaries": "summary", "full_delayed": "full", "critical_only": "critical_only"}


async def read_until(client: Client, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Everything up to where it is enough, read quickly at last."""
    client.socket.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    frames: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not enough(frames):
            frames.append(await client.receive())
    return frames


def numbers(frames: list[dict[str, Any]]) -> list[int]:
    """The numbers of the events among these frames."""
    return [frame["insight"]["number"] for frame in frames if "insight" in frame]


def missed(frames: list[dict[str, Any]]) -> set[int]:
    """The cursors told by gaps."""
    gaps = [frame for frame in frames if frame["type"] == "gap"]
    return {cursor for gap in gaps for cursor in range(gap["from"], gap["to"] + 1)}


async def test_a_slow_connection_gets_what_it_prefers_and_critical_events_at_once(make_gateway, source: Source) -> None:
    gateway: GatewayProcess = make_gateway(
        SWITCHYARD_GATEWAY_SUMMARY_S="1", SWITCHYARD_GATEWAY_DELAYED_S="1", SWITCHYARD_GATEWAY_CRITICAL_ONLY_S="1"
    )
    gateway.start()
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for preference in MODES:
            client = clients[preference] = await stack.enter_async_context(slow_client(gateway, token()))
            answer = await client.ask("set_mode", mode="everything", slow_connection_preference=preference)
            assert answer["type"] == "subscribed"
        await source.publish(1200, size=1000)
        eventually(lambda: all(gateway.metric("paced", mode=mode) == 1 for mode in MODES.values()), 15)
        held = await source.publish(20, size=10)
        (critical,) = await source.publish(1, size=10, priority="critical")
        eventually(lambda: gateway.metric("events_in_total") >= 1221)

        client = clients["summaries"]
        frames = await read_until(client, lambda frames: bool(frames) and frames[-1]["type"] == "summary")
        summary = frames[-1]
        assert summary["events"] >= len(held)
        assert sum(summary["by_type"].values()) == sum(summary["by_topic"].values()) == summary["events"]
        (first,) = [frame for frame in frames if numbers([frame]) == [critical]]
        assert first["since"] < summary["from"]
        # What was only counted can be had by asking for it.
        await client.send("infodump", since=summary["from"] - 1, pattern=TOPIC)
        frames = await read_until(client, lambda frames: numbers(frames)[-1:] == [critical])
        assert numbers(frames)[-len(held) - 1 :] == [*held, critical]

        frames = await read_until(clients["full_delayed"], lambda frames: numbers(frames)[-1:] == held[-1:])
        assert numbers(frames)[-len(held) :] == held
        assert critical in numbers(frames)
        assert [frame["mode"] for frame in frames if frame["type"] == "connection_quality"] == ["full"]

        of_held = {frame["cursor"] for frame in frames if set(numbers([frame])) & set(held)}
        frames = await read_until(clients["critical_only"], lambda frames: of_held <= missed(frames))
        assert critical in numbers(frames)
        assert not set(held) & set(numbers(frames))


async def test_critical_events_are_asked_for_until_they_are_acknowledged_or_the_admins_know(
    make_gateway, source: Source
) -> None:
    gateway: GatewayProcess = make_gateway(SWITCHYARD_GATEWAY_ACK_S="0.3")
    gateway.start()
    admin = token("boss", kind="human", scopes=["read", "publish", "admin"])
    async with connected(gateway) as client, connected(gateway) as other, connected(gateway, admin) as boss:
        await boss.ask("subscribe", topics=["system.unacknowledged"])
        await client.ask("subscribe", topics=[TOPIC])
        await other.ask("subscribe", topics=["system.#"])
        bodies = [insight(number, priority="critical") for number in range(2)]
        await source.send(TOPIC, *[body.encoded() for body in bodies])
        first, second = await client.events(2)
        await client.send("ack", message_id=first["message_id"])
        for attempt in (1, 2):
            asked = await client.receive()
            assert (asked["type"], asked["attempt"]) == ("curator_checkin", attempt)
            (missing,) = asked["missing_updates"]
            assert (missing["message_id"], missing["cursor"]) == (second["message_id"], second["cursor"])
        told = await boss.receive()
        assert (told["type"], told["missing"]) == ("unacknowledged_updates", [second["message_id"]])
        assert told["connection_id"] == client.hello["connection_id"]  # type: ignore[attr-defined]
        assert gateway.metric("curator_told_total") == 1
        # It is for admins alone.
        assert await other.ask("ping") == {"type": "pong"}
