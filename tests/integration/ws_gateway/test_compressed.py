"""Compressed messages, as any WebSocket client and zlib read them."""

import json
import zlib
from typing import Any

import pytest

from tests.integration.ws_gateway.processes import Client, GatewayProcess, Source, connected, token

pytestmark = pytest.mark.anyio

TOPIC = "session.s1.insight"


async def message(client: Client) -> tuple[bool, dict[str, Any]]:
    """The next message, and whether it came compressed."""
    data = await client.socket.recv()
    if isinstance(data, str):
        return False, json.loads(data)
    return True, json.loads(zlib.decompress(data))


def number(event: dict[str, Any]) -> int:
    return int(event["insight"]["number"])


async def test_large_events_come_compressed_to_who_asks_for_it(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as small, connected(gateway) as plain:
        await small.ask("subscribe", topics=[TOPIC], deflate=True)
        await plain.ask("subscribe", topics=[TOPIC])
        sizes = [10, 10_000, 100, 300_000]
        published = [(await source.publish(1, size=size))[0] for size in sizes]
        got = [await message(small) for _ in sizes]
        assert [compressed for compressed, _ in got] == [False, True, False, True]
        assert [number(event) for _, event in got] == published
        assert [event for _, event in got] == await plain.events(4)


async def test_compression_is_chosen_anew_with_each_answer(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as client:
        place = client.hello["cursor"]
        await client.ask("subscribe", topics=[TOPIC])
        for mode in ({"deflate": True}, {}, {"deflate": False}):
            await client.ask("set_mode", mode="everything", **mode)
            await source.publish(1, size=10_000)
            assert (await message(client))[0] is (mode != {"deflate": False})
        await client.ask("unsubscribe")
        await client.ask("subscribe", topics=[TOPIC], since=place, deflate=True)
        again = [await message(client) for _ in range(3)]
        assert all(compressed for compressed, _ in again)
        assert sorted(number(event) for _, event in again) == [number(event) for _, event in again]


async def test_a_connection_goes_on_compressed_from_a_cursor(gateway: GatewayProcess, source: Source) -> None:
    shown = token("sam")
    async with connected(gateway, shown) as client:
        await client.ask("subscribe", topics=[TOPIC], deflate=True)
        await source.publish(1, size=10_000)
        place = (await message(client))[1]["cursor"]
    missed = await source.publish(20, size=10_000)
    async with connected(gateway, shown) as client:
        answer = await client.ask("subscribe", topics=[TOPIC], deflate=True, since=place)
        assert answer["recovered"] is True
        got = [await message(client) for _ in missed]
        assert {compressed for compressed, _ in got} == {True}
        assert [number(event) for _, event in got] == missed
