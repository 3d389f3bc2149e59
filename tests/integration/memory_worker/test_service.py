"""The memory worker as a process, between RabbitMQ and PostgreSQL."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import orjson
import psycopg
import pytest

from cli.local.ports import free_port
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.bus.tail import StreamEvent, Tail
from shared.errors import Rejected
from shared.messages import encode_command, new_id, spec_of
from standins.embeddings import EmbeddingsServer
from tests.waiting import eventually_async


class Bus:
    """A caller of commands, and a listener to events."""

    def __init__(self, publisher: Publisher) -> None:
        self.rpc = Rpc(publisher)
        self.heard: list[StreamEvent] = []

    async def store(self, key: str, content: Any) -> dict[str, Any]:
        data = {"session_id": "s1", "type": "fact", "key": key, "content": content}
        message_id = new_id()
        body = encode_command("store_memory", data, message_id=message_id, sender_agent_id="ada")
        reply: dict[str, Any] = orjson.loads(
            await self.rpc.request(spec_of("store_memory"), body, message_id=message_id, wait=30)
        )
        return reply

    async def query(self, **data: Any) -> dict[str, Any]:
        reply = await self.rpc.query("query_memories", data, sender="ada", wait=30)
        result: dict[str, Any] = reply.value()
        return result

    def updates(self, key: str) -> list[dict[str, Any]]:
        """The events of one key so far."""
        events = [orjson.loads(event.body) for event in self.heard]
        return [event for event in events if event.get("exchange", {}).get("key") == key]


@asynccontextmanager
async def bus(amqp_url: str) -> AsyncIterator[Bus]:
    publisher = Publisher(amqp_url, name="tests")
    running = [asyncio.create_task(publisher.run())]
    caller = Bus(publisher)
    try:
        await eventually_async(lambda: asyncio.sleep(0, publisher.connected))
        tail = Tail(amqp_url, name="tests", on_events=caller.heard.extend, start=0)
        running.append(asyncio.create_task(tail.run()))
        yield caller
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextmanager
def started(database_url: str, amqp_url: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "AMQP_URL": amqp_url,
        "SWITCHYARD_WORKERS_PORT": str(free_port(range(4))),
        **more,
    }
    process = subprocess.Popen([sys.executable, "-m", "services.memory_worker"], env=environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        code = process.wait(20)
    assert code in (0, -signal.SIGKILL)


@pytest.fixture
def session(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into sessions (id) values ('s1')")
    return database_url


def test_it_stores_answers_finds_by_meaning_and_stops_cleanly(session, fresh_amqp_url):
    async def converse() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        async with bus(fresh_amqp_url) as caller:
            replies = await asyncio.gather(*(caller.store(f"k{n % 40}", f"word{n}") for n in range(50)))
            assert all(reply["ok"] for reply in await asyncio.gather(
                caller.store("car", "a red automobile"), caller.store("poison", "a vehicle of poison"),
            ))  # fmt: skip

            async def found_by_meaning() -> list[str]:
                result = await caller.query(meaning="vehicle", limit=1)
                return [memory["key"] for memory in result["memories"]]

            server.behaviour = 500
            await eventually_async(lambda: asyncio.sleep(0, server.asked), 30)
            # The endpoint recovers; one text that it never takes keeps no other from its vector.
            server.refuses, server.behaviour = "poison", "ok"

            async def is_found() -> bool:
                try:
                    return await found_by_meaning() == ["car"]
                except Rejected as refusal:
                    assert refusal.code == "unavailable"
                    return False

            await eventually_async(is_found, 30, interval=0.2)
            return replies, await caller.query(text="word17")

    with (
        EmbeddingsServer() as server,
        started(session, fresh_amqp_url, SWITCHYARD_EMBEDDINGS_URL=server.url, SWITCHYARD_EMBEDDINGS_MODEL="words"),
    ):
        replies, found = asyncio.run(converse())
    assert all(reply["ok"] for reply in replies)
    assert sorted(reply["result"]["memory"]["version"] for reply in replies) == [1] * 40 + [2] * 10
    assert [memory["key"] for memory in found["memories"]] == ["k17"]
    assert found["memories"][0]["highlight"] == "<mark>word17</mark>"


def test_rapid_updates_are_told_together(session, fresh_amqp_url):
    async def rapidly() -> list[dict[str, Any]]:
        async with bus(fresh_amqp_url) as caller:
            assert all(reply["ok"] for reply in await asyncio.gather(*(caller.store("k", n) for n in range(20))))
            await eventually_async(lambda: asyncio.sleep(0, sum(each["count"] for each in caller.updates("k")) == 20))
            return caller.updates("k")

    with started(session, fresh_amqp_url):
        events = asyncio.run(rapidly())
    assert len(events) < 20
    assert (events[0]["count"], events[0]["exchange"]["version"]) == (1, 1)
    assert events[-1]["exchange"]["version"] == 20
    assert [event["session_seq"] for event in events] == list(range(1, len(events) + 1))


def test_what_a_killed_worker_had_yet_to_tell_is_told_by_the_next(session, fresh_amqp_url):
    def told_at(moment: str) -> int:
        with psycopg.connect(session) as connection:
            changed = connection.execute(f"update memories set told_at = {moment} where key = 'k'")
            return changed.rowcount

    async def killed_in_between(process: subprocess.Popen[bytes]) -> None:
        async with bus(fresh_amqp_url) as caller:
            assert (await caller.store("k", 0))["ok"]
            # So that it can't be told before the worker is gone, however slow the machine.
            assert told_at("now() + interval '1 hour'") == 1
            assert all(reply["ok"] for reply in await asyncio.gather(caller.store("k", 1), caller.store("k", 2)))
            process.kill()
            process.wait()

    async def afterwards() -> list[dict[str, Any]]:
        async with bus(fresh_amqp_url) as caller:
            await eventually_async(lambda: asyncio.sleep(0, len(caller.updates("k")) == 2), 30)
            return caller.updates("k")

    with started(session, fresh_amqp_url) as process:
        asyncio.run(killed_in_between(process))
    assert told_at("now()") == 1
    with started(session, fresh_amqp_url):
        first, late = asyncio.run(afterwards())
    assert (first["count"], late["count"]) == (1, 2)
    assert late["exchange"]["version"] == 3
