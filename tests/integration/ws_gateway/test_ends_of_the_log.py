"""Resuming from where nothing is kept any more, from a stream that is no more, and from the future: in every mode, by
WebSocket and as an event stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from pamqp import commands as amqp

from shared.bus.connection import Connection
from shared.bus.topology import EVENT_LOG
from shared.messages import new_id, now
from tests.integration.ws_gateway.processes import (
    GatewayProcess,
    Process,
    Source,
    connected,
    session_worker,
    token,
)
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.anyio

OLD, DELETED, NEW = 60, 30, 10
FOCUS = {"tags": ["red"]}


@dataclass(frozen=True)
class Door:
    """A way to listen: `agent_id` in a mode, by WebSocket or as an event stream."""

    agent_id: str
    mode: str
    streams: bool

    def hears(self, number: int) -> bool:
        """Whether an event is to come: red ones are within the focus, and `rex` takes part in the even session."""
        return {"everything": True, "focused": number % 3 == 0, "relevant": number % 2 == 0}[self.mode]

    @asynccontextmanager
    async def opened(self, gateway: GatewayProcess, since: int) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The frames that come after `connected`."""
        wanted: dict[str, Any] = {"topics": ["session.#"], "mode": self.mode}
        if self.mode == "focused":
            wanted["filters"] = FOCUS
        if self.streams:
            if "filters" in wanted:
                wanted["filters"] = json.dumps(wanted["filters"])
            headers = {"Authorization": f"Bearer {token(self.agent_id)}", "Last-Event-ID": str(since)}
            async with (
                httpx.AsyncClient(timeout=20, headers=headers) as http,
                http.stream("GET", f"http://127.0.0.1:{gateway.port}/events", params=wanted) as answer,
            ):
                assert answer.status_code == 200
                frames = (json.loads(line[6:]) async for line in answer.aiter_lines() if line.startswith("data: "))
                assert (await anext(frames))["type"] == "connected"
                yield frames
        else:
            async with connected(gateway, token(self.agent_id)) as client:
                await client.send("subscribe", **wanted, since=since)
                yield (json.loads(text) async for text in client.socket)


DOORS = [
    Door(agent_id, mode, streams)
    for agent_id, mode in (("eve", "everything"), ("fay", "focused"), ("rex", "relevant"))
    for streams in (False, True)
]


def body(number: int) -> bytes:
    event = {
        "type": "test", "message_id": new_id(), "timestamp": now(), "sender_agent_id": "zed", "number": number,
        "session_id": f"s{number % 2}", "tags": ["red" if number % 3 == 0 else "blue"],
    }  # fmt: skip
    return json.dumps(event).encode()


async def publish(source: Source, first: int, count: int) -> None:
    for number in range(first, first + count):
        await source.send(f"session.s{number % 2}.test", body(number))


async def cursors(gateway: GatewayProcess, since: int, count: int) -> list[int]:
    """The cursors of numbered events."""
    found: dict[int, int] = {}
    async with connected(gateway) as client:
        await client.send("subscribe", topics=["session.*.test"], since=since)
        while len(found) < count:
            frame = await client.receive()
            if frame["type"] == "test":
                found[frame["number"]] = frame["cursor"]
    return [found[number] for number in range(count)]


async def heard(frames: AsyncIterator[dict[str, Any]], last: int) -> tuple[list[int], list[dict[str, Any]]]:
    """The numbers of the events up to the last one, and the gaps that were told."""
    numbers: list[int] = []
    gaps: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        async for frame in frames:
            if frame["type"] == "gap":
                assert not numbers or frame["reason"] == "epoch"
                gaps.append(frame)
            elif frame["type"] == "test":
                numbers.append(frame["number"])
                if frame["number"] == last:
                    break
    return numbers, gaps


async def forget(amqp_url: str, database_url: str, before: int) -> None:
    """Make the stream anew once its events are recorded, and delete the oldest of those."""

    def recorded() -> bool:
        with psycopg.connect(database_url) as database:
            row = database.execute("select count(*) from events where type = 'test'").fetchone()
            return row is not None and row[0] == OLD

    await asyncio.to_thread(eventually, recorded, 20)
    async with await Connection.open(amqp_url, name="tests") as connection:
        await connection.call(amqp.Queue.Delete(queue=EVENT_LOG))
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("delete from events where cursor < %s", [before])


async def all_answered(answered: list[dict[str, Any]], checks: list[asyncio.Future[None]]) -> None:
    """Return when every door has answered, or a check has failed."""

    async def is_so() -> bool:
        return len(answered) == len(DOORS) or any(check.done() for check in checks)

    await eventually_async(is_so, 20)


@pytest.fixture
def own_gateway(fresh_amqp_url: str, database_url: str) -> Iterator[GatewayProcess]:
    """A gateway that is ready, on a stream and a database of the test's own."""
    worker, gateway = session_worker(fresh_amqp_url, database_url), GatewayProcess(fresh_amqp_url)
    try:
        worker.start()
        Process.start(gateway)
        eventually(lambda: gateway.get("/health/ready")[0] == 200, 40)
        yield gateway
    finally:
        gateway.stop()
        worker.stop()


async def test_what_is_not_kept_is_told_and_the_rest_comes_in_every_mode_through_both_doors(
    own_gateway: GatewayProcess, fresh_amqp_url: str, database_url: str
) -> None:
    async with connected(own_gateway) as client:
        data = {"session_id": "s0", "participants": ["rex"]}
        await client.send("command", command="create_session", data=data, message_id=new_id())
        assert (await client.receive())["type"] == "response"
        start = client.hello["cursor"]  # type: ignore[attr-defined]
    async with Source(fresh_amqp_url) as source:
        await publish(source, 0, OLD)
    old = await cursors(own_gateway, start, OLD)
    await forget(fresh_amqp_url, database_url, old[DELETED])
    async with Source(fresh_amqp_url) as again:  # connecting makes the stream anew
        await publish(again, OLD, NEW)
        eventually(lambda: own_gateway.metric("cursor") >= old[-1] + NEW, 30)
        at, last = int(own_gateway.metric("cursor")), 6 * OLD
        answered: list[dict[str, Any]] = []

        async def from_below(door: Door) -> None:
            async with door.opened(own_gateway, old[5]) as frames:
                answered.append(answer := await anext(frames))
                assert (answer["type"], answer["recovered"], answer["mode"]) == ("subscribed", False, door.mode)
                numbers, gaps = await heard(frames, last)
            assert numbers == [n for n in (*range(DELETED, OLD + NEW), last) if door.hears(n)]
            assert gaps[0] == {"type": "gap", "from": old[5] + 1, "to": old[DELETED] - 1, "reason": "retention"}
            # What lies between the streams holds none of these.
            assert all(gap["from"] > old[-1] for gap in gaps[1:])

        async def from_the_future(door: Door) -> None:
            async with door.opened(own_gateway, at + 10_000) as frames:
                answered.append(answer := await anext(frames))
                assert (answer["type"], answer["recovered"], answer["mode"]) == ("subscribed", False, door.mode)
                told = await anext(frames)
                assert told == {"type": "gap", "from": answer["cursor"] + 1, "to": at + 10_000, "reason": "epoch"}
                assert await heard(frames, last) == ([last], [])

        for check in (from_below, from_the_future):
            answered.clear()
            checks = [asyncio.ensure_future(check(door)) for door in DOORS]
            await all_answered(answered, checks)
            await publish(again, last, 1)
            await asyncio.gather(*checks)
