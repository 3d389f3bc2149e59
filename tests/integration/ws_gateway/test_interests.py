"""Modes and audiences: the same events live, from the stream and from the table."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from pamqp import commands as amqp

from shared.bus.connection import Connection
from shared.bus.topology import EVENT_LOG
from shared.messages import new_id, now
from tests.integration.ws_gateway.processes import (
    Client,
    GatewayProcess,
    Source,
    connected,
    session_worker,
    token,
)
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

SUBSCRIPTION = {"topics": ["session.#", "memory.#", "sidebar.#"]}
ADMIN = {"kind": "human", "scopes": ["read", "publish", "admin"]}
# Who listens how, and which of the events below each hears.
LISTENERS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "focused": ({}, {"mode": "focused", "filters": {"tags": ["Queue"], "words": ["open door"]}}, ["tagged", "said"]),
    "ana": ({}, {"mode": "relevant"}, ["created", "tagged", "in sidebar"]),
    "bo": ({}, {"mode": "relevant", "peripheral_awareness": False}, ["in sidebar"]),
    "cy": ({}, {}, ["created", "tagged", "other", "said"]),
    "root": (ADMIN, {"mode": "everything"}, ["created", "tagged", "other", "in sidebar", "said"]),
}


def body(label: str, kind: str, **fields: Any) -> bytes:
    envelope = {"type": kind, "message_id": new_id(), "timestamp": now(), "sender_agent_id": "zed", "label": label}
    return json.dumps({**envelope, **fields}).encode()


async def publish(source: Source) -> None:
    sidebar = {"sidebar_id": "w", "participants": ["ana", "bo"]}
    for topic, event in (
        ("session.s1.created", body("created", "session_created", session_id="s1", session={"participants": ["ana"]})),
        ("memory.s1.updated", body("tagged", "memory_update", session_id="s1", exchange={"tags": ["queue"]})),
        ("memory.s2.updated", body("other", "memory_update", session_id="s2", exchange={"tags": ["other"]})),
        ("sidebar.w.posted", body("in sidebar", "sidebar_exchange", sidebar_id="w", sidebar=sidebar)),
        ("session.s2.chunk", body("said", "chunk_added", session_id="s2", chunk={"content": "the OPEN door"})),
    ):
        await source.send(topic, event)
    # More than the ring of the gateway holds, then one for all.
    await source.send("filler.x", *[body("filler", "filler") for _ in range(40)])
    await source.send("session.s0.end", body("end", "end", priority="critical", tags=["queue"]))


async def labels(client: Client) -> list[str]:
    """The events up to the last one, by name."""
    heard: list[str] = []
    while not heard or heard[-1] != "end":
        frame = await client.receive()
        if "label" in frame:
            heard.append(frame["label"])
    return heard[:-1]


async def all_labels(gateway: GatewayProcess, source: Source | None, since: int | None) -> tuple[dict[str, Any], int]:
    """What each listener hears, of what is published now or of what was after a cursor."""
    past = {} if since is None else {"since": since}
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for agent_id, (claims, taste, _) in LISTENERS.items():
            client = await stack.enter_async_context(connected(gateway, token(agent_id, **claims)))
            await client.send("subscribe", **SUBSCRIPTION, **taste, **past)
            while (answer := await client.receive())["type"] != "subscribed":
                assert answer["type"] != "error", answer
            assert answer["mode"] == taste.get("mode", "everything")
            clients[agent_id] = client
        cursor = answer["cursor"]
        if source is not None:
            await publish(source)
        return {agent_id: await labels(client) for agent_id, client in clients.items()}, cursor


async def test_modes_and_audiences_hold_live_and_for_what_comes_from_the_stream_and_from_the_table(
    fresh_amqp_url: str, database_url: str
) -> None:
    expected = {agent_id: heard for agent_id, (_, _, heard) in LISTENERS.items()}
    worker = session_worker(fresh_amqp_url, database_url)
    gateway = GatewayProcess(fresh_amqp_url, SWITCHYARD_GATEWAY_RING_EVENTS="20")
    try:
        worker.start()
        gateway.start()
        async with Source(fresh_amqp_url) as source:
            live, start = await all_labels(gateway, source, None)
        assert live == expected
        replayed, _ = await all_labels(gateway, None, start)
        assert replayed == expected
        assert gateway.metric("resumes_total", source="stream") >= 1
        await asyncio.to_thread(eventually, lambda: _is_recorded(database_url), 20)
        async with await Connection.open(fresh_amqp_url, name="tests") as connection:
            await connection.call(amqp.Queue.Delete(queue=EVENT_LOG))
        async with Source(fresh_amqp_url) as again:  # connecting makes the stream anew
            await again.publish(1)
            eventually(lambda: gateway.metric("cursor") > start + 46, 30)
            replayed, _ = await all_labels(gateway, None, start)
        assert replayed == expected
        assert gateway.metric("resumes_total", source="table") >= 1
    finally:
        gateway.stop()
        worker.stop()


def _is_recorded(database_url: str) -> bool:
    with psycopg.connect(database_url) as connection:
        return connection.execute("select 1 from events where type = 'end'").fetchone() is not None
