"""Clients that read slowly or not at all, and how little the others notice."""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.integration.ws_gateway.processes import Client, GatewayProcess, Source, connected, numbers, token
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TOPIC = "session.s1.insight"


@asynccontextmanager
async def slow_client(gateway: GatewayProcess, shown: str):
    """A client whose system takes next to nothing that it does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
    headers = {"Authorization": f"Bearer {shown}"}
    quiet = {"compression": None, "max_queue": 1, "ping_interval": None}
    async with connect(gateway.url, sock=sock, additional_headers=headers, **quiet) as ws:
        client = Client(ws)
        try:
            assert (await client.receive())["type"] == "connected"
            assert (await client.ask("subscribe", topics=[TOPIC]))["type"] == "subscribed"
            yield client
        finally:
            # What it has not read would keep it from closing politely.
            ws.transport.abort()


async def watched(source: Source, reader: Client, count: int, *, size: int) -> list[int]:
    """Publish events no faster than one client reads them, which must miss none."""
    published: list[int] = []
    for _ in range(0, count, 50):
        some = await source.publish(50, size=size)
        assert numbers(await reader.events(50)) == some
        published += some
    return published


async def test_a_slow_reader_is_told_what_it_missed_and_the_others_miss_nothing(
    gateway: GatewayProcess, source: Source
) -> None:
    async with slow_client(gateway, token()) as slow, connected(gateway) as fast:
        await fast.ask("subscribe", topics=[TOPIC])
        expected = await watched(source, fast, 2000, size=1000)
        assert gateway.metric("slow") == 1
        assert gateway.metric("dropped_total") > 0
        frames = []
        while not frames or numbers(frames[-1:]) != expected[-1:]:
            frames.append(await slow.receive())
            if frames[-1]["type"] == "gap":
                frames.append(await slow.receive())
        gaps = [frame for frame in frames if frame["type"] == "gap"]
        events = [frame for frame in frames if frame["type"] != "gap"]
        missed = sorted(set(expected) - set(numbers(events)))
        assert missed
        cursor_of = {event["insight"]["number"]: event["cursor"] for event in events}
        first = events[0]["cursor"] - events[0]["insight"]["number"]
        for number in missed:
            # The presence of the two may have been told among them.
            assert any(gap["from"] <= first + number + 4 and first + number <= gap["to"] for gap in gaps)
            assert gap_reasons(gaps) == {"backpressure"}
        assert numbers(events) == sorted(cursor_of)
    eventually(lambda: gateway.metric("slow") == 0)


def gap_reasons(gaps: list[dict[str, object]]) -> set[object]:
    return {gap["reason"] for gap in gaps}


async def test_what_was_missed_can_be_had_later(gateway: GatewayProcess, source: Source) -> None:
    async with slow_client(gateway, token()) as slow:
        expected = await source.publish(1500, size=1000)
        eventually(lambda: gateway.metric("dropped_total") > 0)
        frames = []
        while not frames or frames[-1]["type"] == "gap" or numbers(frames[-1:]) != expected[-1:]:
            frames.append(await slow.receive())
        (gap, *_) = [frame for frame in frames if frame["type"] == "gap"]
        answer = await slow.ask("subscribe", topics=[TOPIC], since=gap["from"] - 1)
        assert answer["recovered"] is True
        again = [await slow.receive()]
        while numbers(again[-1:]) != expected[-1:]:
            again.append(await slow.receive())
        assert sorted({*numbers([f for f in frames if f["type"] != "gap"]), *numbers(again)}) == expected


async def test_critical_events_are_never_dropped(gateway: GatewayProcess, source: Source) -> None:
    async with slow_client(gateway, token()) as slow:
        await source.publish(1500, size=1000)
        eventually(lambda: gateway.metric("slow") == 1)
        critical = await source.publish(100, size=1000, priority="critical")
        await source.publish(1000, size=1000)
        events = []
        while set(critical) - set(numbers(events)):
            frame = await slow.receive()
            if frame["type"] != "gap":
                events.append(frame)
        overtaking = [event for event in events if "since" in event]
        assert all(event["since"] < event["cursor"] for event in overtaking)


async def test_a_client_that_can_not_take_critical_events_is_closed_and_resumes(
    gateway: GatewayProcess, source: Source
) -> None:
    shown = token()
    async with slow_client(gateway, shown) as slow:
        before = gateway.metric("cursor")
        expected = await source.publish(2500, size=1000, priority="critical")
        eventually(lambda: gateway.metric("cursor") >= before + 2500, 30)
        seen = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                seen.append(await slow.receive())
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4000
    async with connected(gateway, shown) as client:
        await client.ask("subscribe", topics=[TOPIC], since=seen[-1]["cursor"])
        seen += await client.events(2500 - len(seen))
    assert numbers(seen) == expected


async def test_slow_readers_cost_little_memory(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as fast:
        await fast.ask("subscribe", topics=[TOPIC])
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(slow_client(gateway, token()))
            before = gateway.memory()
            await watched(source, fast, 3000, size=5000)
            # The ring itself takes 15 MB of these.
            assert gateway.memory() - before < 60_000_000


async def test_a_slow_client_is_closed_at_a_restart_with_the_others(make_gateway, source: Source) -> None:
    gateway: GatewayProcess = make_gateway()
    gateway.start()
    async with slow_client(gateway, token()), connected(gateway) as fast:
        await fast.ask("subscribe", topics=[TOPIC])
        await watched(source, fast, 1500, size=1000)
        gateway.signal(signal.SIGTERM)
        assert await fast.close_code() == 1012
        assert fast.socket.close_reason == "restart; resume from cursor"
        assert gateway.wait(15) == 0


async def test_ctrl_c_is_a_shutdown(make_gateway) -> None:
    gateway: GatewayProcess = make_gateway()
    gateway.start()
    async with connected(gateway) as client:
        gateway.signal(signal.SIGINT)
        assert await client.close_code() == 1001
    assert gateway.wait(15) == 0
