"""Many clients at one gateway: those that never read among those that do, and all that come back at once."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from bench.load.deaf import Deaf
from bench.load.events import ROUTING_KEY, event
from bench.load.offer import offer
from bench.load.sink import Received, Sink
from bench.load.tokens import subscription, token_headers
from shared.messages import new_id
from tests.integration.ws_gateway.processes import SECRET, Client, GatewayProcess, Source, connected, numbers, token
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TOPICS = ["memory.#", "fill.#"]
READERS, NON_READERS = 270, 30
RATE, SECONDS, SIZE = 50.0, 1.5, 3_000
# Below this the gateway is quick enough, whatever it is without those that do not read (and the machine busy).
QUICK_MS = 100.0

RETURNING = 300
MISSED = 50


@pytest.fixture
async def readers(gateway: GatewayProcess, tmp_path: Path) -> AsyncIterator[Sink]:
    """Clients that read what comes, in a process of their own."""
    headers = token_headers(SECRET, READERS)
    sink = await Sink.connect(gateway.port, "/ws", READERS, tmp_path, headers, subscription("memory.#"))
    yield sink
    await sink.stop()


@pytest.fixture
def deaf() -> Iterator[list[Deaf]]:
    """What is put here hangs up in the end."""
    made: list[Deaf] = []
    yield made
    for each in made:
        each.close()


async def measured(source: Source, readers: Sink) -> Received:
    """How long events take to the readers, at a steady rate."""
    await readers.start()
    offered = await offer(
        lambda bodies: source.send(ROUTING_KEY, *bodies), 1, RATE, SECONDS, make=lambda sent: event(sent, SIZE)
    )
    assert await readers.reached(offered.events * READERS, 30)
    return await readers.report()


async def cursors_since(gateway: GatewayProcess, source: Source, start: int) -> list[int]:
    """The cursors of all events that those who do not read have asked for, up to a last one."""
    await source.send("fill.end", json.dumps({"type": "end", "message_id": new_id()}).encode())
    async with connected(gateway) as client:
        assert (await client.ask("subscribe", topics=TOPICS, since=start))["recovered"] is True
        frames = [await client.receive()]
        while frames[-1]["type"] != "end":
            frames.append(await client.receive())
        return [frame["cursor"] for frame in frames]


async def test_those_who_never_read_cost_the_others_little_and_are_told_what_they_missed(
    gateway: GatewayProcess, source: Source, readers: Sink, deaf: list[Deaf]
) -> None:
    without = await measured(source, readers)
    start, memory, dropped = int(gateway.metric("cursor")), gateway.memory(), gateway.metric("dropped_total")
    headers = [f"Authorization: Bearer {token()}" for _ in range(NON_READERS)]
    wanted = json.dumps({"type": "subscribe", "topics": TOPICS})
    silent = await asyncio.to_thread(Deaf, gateway.port, headers, wanted)
    deaf.append(silent)
    await source.send("fill.x", *[event(0, SIZE) for _ in range(500)])
    eventually(lambda: gateway.metric("slow") == NON_READERS, 20)
    eventually(lambda: gateway.metric("dropped_total") > dropped, 20)

    p99 = []
    while not p99 or (p99[-1] > max(2 * without.p99_ms, QUICK_MS) and len(p99) < 3):
        p99.append((await measured(source, readers)).p99_ms)
    assert min(p99) <= max(2 * without.p99_ms, QUICK_MS)
    # 200 events for each would be 18 MB if they did not share them; the ring takes 2 MB.
    assert gateway.memory() - memory < 40_000_000
    assert gateway.metric("slow") == NON_READERS

    cursors = set(await cursors_since(gateway, source, start))
    dropped = gateway.metric("dropped_total") - dropped
    told = await asyncio.to_thread(silent.read, "end")
    assert [each.untold(cursors) for each in told] == [set()] * NON_READERS
    assert {reason for each in told for _, _, reason in each.gaps} == {"backpressure"}
    assert sum(len(cursors - each.events) for each in told) == dropped > 0
    eventually(lambda: gateway.metric("slow") == 0)


async def opened(stack: AsyncExitStack, gateway: GatewayProcess, shown: str) -> Client:
    """A client that has been let in, without more of it than that."""
    headers = {"Authorization": f"Bearer {shown}"}
    quiet: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None, "open_timeout": 30}
    socket: ClientConnection = await stack.enter_async_context(
        connect(gateway.url, additional_headers=headers, **quiet)
    )
    client = Client(socket)
    assert (await client.receive())["type"] == "connected"
    return client


async def test_all_who_come_back_at_once_after_a_restart_go_on_within_seconds(
    make_gateway: Callable[..., GatewayProcess], source: Source
) -> None:
    gateway = make_gateway()
    gateway.start()
    topic = "session.s1.insight"
    tokens = [token() for _ in range(RETURNING)]
    kept: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        for shown in tokens:
            client = await opened(stack, gateway, shown)
            mode = ("everything", "relevant")[len(kept) % 4 == 3]
            kept.append(await client.ask("subscribe", topics=[topic], mode=mode))
        gateway.signal(signal.SIGKILL)
        gateway.wait()
    # Critical ones are relevant for everybody.
    missed = await source.publish(MISSED, priority="critical")
    gateway.start()

    async with AsyncExitStack() as stack:

        async def come_back(number: int) -> list[int]:
            client, last = await opened(stack, gateway, tokens[number]), kept[number]
            if number % 2:
                asked = {"type": "resume", "resume_token": last["resume_token"]}
            else:
                asked = {"type": "subscribe", "topics": last["topics"], "mode": last["mode"]}
            answer = await client.ask(asked.pop("type"), **asked, since=last["cursor"])
            assert (answer["type"], answer["recovered"], answer["mode"]) == ("subscribed", True, last["mode"])
            assert answer.get("resumed") if number % 2 else answer["topics"] == [topic]
            return numbers(await client.events(MISSED))

        began = time.monotonic()
        heard = await asyncio.gather(*map(come_back, range(RETURNING)))
        took = time.monotonic() - began
    assert heard == [missed] * RETURNING
    assert took < 10, f"it took {took:.1f} s"
