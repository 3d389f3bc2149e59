"""Events: live, and from the ring, the stream and the table, across restarts of everything."""

import asyncio
import json
import signal
from typing import Any

import psycopg
import pytest
from pamqp import commands as amqp

from shared.bus.connection import Connection
from shared.bus.topology import EVENT_LOG
from shared.messages import new_id
from shared.messages.json_text import slices
from tests.integration.ws_gateway.processes import (
    Client,
    GatewayProcess,
    Source,
    connected,
    insight,
    numbers,
    session_worker,
    token,
)
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.anyio

TOPIC = "session.s1.insight"


async def position(gateway: GatewayProcess) -> int:
    """The cursor of a gateway."""
    async with connected(gateway) as client:
        cursor: int = client.hello["cursor"]
        return cursor


async def caught_up(gateway: GatewayProcess, cursor: int) -> None:
    eventually(lambda: gateway.metric("cursor") >= cursor, 20)


async def test_an_event_reaches_those_who_want_it_as_it_was_published(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as one, connected(gateway) as two, connected(gateway) as other:
        for client, topics in ((one, ["session.s1.*"]), (two, ["memory.#", "session.#"]), (other, ["memory.#"])):
            answer = await client.ask("subscribe", topics=topics)
            assert (answer["type"], answer["topics"], answer["recovered"]) == ("subscribed", topics, False)
        body = insight(7, size=300).encoded().replace(b'"number":7', b'"number":1e400')
        await source.send(TOPIC, body)
        for client in (one, two):
            async with asyncio.timeout(10):
                text = await client.socket.recv(decode=False)
            members = slices(text)
            assert members.pop("cursor").isdigit()
            assert members == slices(body)
        await source.send("memory.s1.updated", insight(8).encoded())
        assert numbers([await other.receive(), await two.receive()]) == [8, 8]
        assert (await one.ask("ping"))["type"] == "pong"


async def test_a_payload_over_a_megabyte_is_named_instead(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as client:
        await client.ask("subscribe", topics=["webhook.#"])
        webhook = {
            "type": "webhook",
            "message_id": new_id(),
            "timestamp": "2026-01-01T00:00:00.000000Z",
            "source": "github",
            "delivery_id": "d-1",
            "payload": {"text": "x" * 1_100_000},
        }
        await source.send("webhook.github.push", json.dumps(webhook).encode())
        event = await client.receive()
        assert "payload" not in event
        assert event["payload_ref"] == "d-1"


async def test_copies_of_an_event_come_once(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as client:
        await client.ask("subscribe", topics=[TOPIC])
        body = insight(1).encoded()
        await source.send(TOPIC, body, body, insight(2).encoded(), body, insight(3).encoded())
        assert numbers(await client.events(3)) == [1, 2, 3]


async def test_what_is_no_event_is_passed_over(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as client:
        await client.ask("subscribe", topics=["session.#"])
        await source.send(TOPIC, b"", b"\xff\xfe", b"[]", b"null", b'{"type":3}', insight(5).encoded())
        assert numbers(await client.events(1)) == [5]


async def test_a_client_that_lost_its_connection_goes_on_where_it_was(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as client:
        await client.ask("subscribe", topics=[TOPIC])
        first = await source.publish(10)
        seen = await client.events(10)
    missed = await source.publish(10)
    await caught_up(gateway, seen[-1]["cursor"] + 10)
    async with connected(gateway) as client:
        answer = await client.ask("subscribe", topics=[TOPIC], since=seen[-1]["cursor"])
        assert (answer["recovered"], answer["cursor"]) == (True, seen[-1]["cursor"])
        later = await source.publish(10)
        seen += await client.events(20)
    assert numbers(seen) == first + missed + later
    cursors = [event["cursor"] for event in seen]
    assert cursors == sorted(set(cursors))
    assert gateway.metric("resumes_total", source="ring") >= 1


async def test_the_last_matching_event_is_given_when_asked_for(gateway: GatewayProcess, source: Source) -> None:
    await source.publish(3, topic="session.s2.insight")
    wanted = await source.publish(1, topic="session.s3.insight")
    await source.publish(3, topic="session.s2.insight")

    async def found() -> list[int] | None:
        async with connected(gateway) as client:
            await client.ask("subscribe", topics=["session.s3.insight"], since="last")
            await client.send("ping")
            frame = await client.receive()
            return numbers([frame]) if frame["type"] != "pong" else None

    assert await eventually_async(found) == wanted


async def test_clients_resume_across_a_restart_of_the_gateway_from_ring_and_stream(
    make_gateway, source: Source
) -> None:
    """The ring of this gateway is small, so that older events come from the stream."""
    gateway: GatewayProcess = make_gateway(SWITCHYARD_GATEWAY_RING_EVENTS="100")
    gateway.start()
    start = await position(gateway)
    async with connected(gateway, token("r1")) as client:
        await client.ask("subscribe", topics=[TOPIC])
        expected = await source.publish(50)
        seen = await client.events(50)
        gateway.signal(signal.SIGTERM)
        assert await client.close_code() == 1012
    assert gateway.wait() == 0
    expected += await source.publish(3000)
    gateway.start()
    async with connected(gateway, token("r1")) as recent, connected(gateway, token("r2")) as old:
        answer = await recent.ask("subscribe", topics=[TOPIC], since=seen[-1]["cursor"])
        assert answer["recovered"] is True
        await old.send("subscribe", topics=[TOPIC], since=start)
        expected += await source.publish(200)
        seen += await recent.events(3200)
        assert (await old.receive())["recovered"] is True
        all_again = await old.events(3250)
    assert numbers(seen) == numbers(all_again) == expected
    cursors = [event["cursor"] for event in all_again]
    assert cursors == sorted(set(cursors))
    assert gateway.metric("resumes_total", source="stream") == 2


async def test_many_resume_at_once_after_a_restart(make_gateway, source: Source) -> None:
    gateway: GatewayProcess = make_gateway(SWITCHYARD_GATEWAY_RING_EVENTS="100")
    gateway.start()
    start = await position(gateway)
    expected = await source.publish(1000)
    await caught_up(gateway, start + 1000)

    async def resume() -> list[int]:
        async with connected(gateway) as client:
            assert (await client.ask("subscribe", topics=[TOPIC], since=start))["recovered"] is True
            return numbers(await client.events(1000))

    for got in await asyncio.gather(*(resume() for _ in range(60))):
        assert got == expected


async def test_a_cursor_from_the_future_is_told_as_a_gap(gateway: GatewayProcess, source: Source) -> None:
    async with connected(gateway) as client:
        now = client.hello["cursor"]
        answer = await client.ask("subscribe", topics=[TOPIC], since=now + 1000)
        assert answer["recovered"] is False
        # The presence of those who came and went may have been told meanwhile.
        assert now <= (at := answer["cursor"]) < now + 500
        assert await client.receive() == {"type": "gap", "from": at + 1, "to": now + 1000, "reason": "epoch"}
        (number,) = await source.publish()
        assert numbers(await client.events(1)) == [number]


async def test_a_stream_made_anew_is_told_and_older_events_come_from_the_table(
    fresh_amqp_url: str, database_url: str
) -> None:
    worker = session_worker(fresh_amqp_url, database_url)
    gateway = GatewayProcess(fresh_amqp_url)
    try:
        worker.start()
        gateway.start()
        async with Source(fresh_amqp_url) as source, connected(gateway, token("before")) as client:
            await client.ask("subscribe", topics=[TOPIC])
            old = await source.publish(200)
            seen = await client.events(200)
            await _recorded(database_url, 200)
            epoch = client.hello["epoch"]
            await _delete_stream(fresh_amqp_url)
            async with Source(fresh_amqp_url) as again:  # connecting makes the stream anew
                again.numbers = source.numbers
                new = await again.publish(20)
                frames = await _until(client, 20)
        gaps = [frame for frame in frames if frame["type"] == "gap"]
        assert {gap["reason"] for gap in gaps} <= {"epoch"}
        assert numbers([frame for frame in frames if frame["type"] != "gap"]) == new
        async with connected(gateway, token("after")) as client:
            assert client.hello["epoch"] != epoch
            answer = await client.ask("subscribe", topics=[TOPIC], since=seen[0]["cursor"])
            assert answer["recovered"] is False
            events = [frame for frame in await _until(client, 199 + 20) if frame["type"] != "gap"]
            assert numbers(events) == old[1:] + new
            cursors = [event["cursor"] for event in events]
            assert cursors == sorted(set(cursors))
        assert gateway.metric("resumes_total", source="table") == 1
    finally:
        gateway.stop()
        worker.stop()


async def _until(client: Client, count: int) -> list[dict[str, Any]]:
    """Frames, gaps included, until there are so many events among them."""
    frames: list[dict[str, Any]] = []
    while sum(frame["type"] != "gap" for frame in frames) < count:
        frames.append(await client.receive(60))
    return frames


async def _recorded(database_url: str, count: int) -> None:
    def enough() -> bool:
        with psycopg.connect(database_url) as connection:
            row = connection.execute("select count(*) from events").fetchone()
            return row is not None and row[0] >= count

    await asyncio.to_thread(eventually, enough, 20)


async def _delete_stream(amqp_url: str) -> None:
    async with await Connection.open(amqp_url, name="tests") as connection:
        await connection.call(amqp.Queue.Delete(queue=EVENT_LOG))


async def test_events_flow_on_after_the_gateway_was_killed(make_gateway, source: Source) -> None:
    gateway: GatewayProcess = make_gateway()
    gateway.start()
    async with connected(gateway) as client:
        assert isinstance(client, Client)
        await client.ask("subscribe", topics=[TOPIC])
        expected = await source.publish(20)
        seen = await client.events(20)
        gateway.signal(signal.SIGKILL)
        await client.close_code()
    gateway.wait()
    expected += await source.publish(20)
    gateway.start()
    async with connected(gateway) as client:
        await client.ask("subscribe", topics=[TOPIC], since=seen[-1]["cursor"])
        seen += await client.events(20)
    assert numbers(seen) == expected
