"""What keeps a stream of events alive, and what ends it, on a socket of this process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.ws_gateway.client import Client
from services.ws_gateway.wire import event_stream
from services.ws_gateway.wire.server import Server
from tests.unit.ws_gateway.house import House, token
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


class Listener:
    """Who asked for a stream, and the gateway's side of it."""

    def __init__(self, reader: asyncio.StreamReader, house: House) -> None:
        self.reader = reader
        self._house = house

    @property
    def client(self) -> Client:
        (client,) = self._house.gateway.clients
        return client

    async def messages(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                line = await self.reader.readline()
                assert line
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
        return found


@asynccontextmanager
async def listening(house: House, query: str = "?topics=a", limit: int = 2**16) -> AsyncIterator[Listener]:
    server = Server(house.gateway, lambda path: None, lambda: True)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        writer.write(f"GET /events{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token()}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            await reader.readuntil(b"\r\n\r\n")
        yield Listener(reader, house)
    finally:
        server.stop_listening()
        writer.transport.abort()
        await eventually_async(lambda: _gone(house))


async def _gone(house: House) -> bool:
    return not house.gateway.clients


async def test_a_ping_is_answered_once_the_clients_system_has_all_that_was_sent_before() -> None:
    house = House()
    async with listening(house) as listener:
        house.publish("a", "a")
        client = listener.client
        number = client.ping_now()

        async def answered() -> bool:
            return client.pulse.answered == number

        await eventually_async(answered)
        assert client.pulse.unanswered == 0


async def test_who_takes_nothing_answers_no_ping_and_is_closed_as_too_slow() -> None:
    house = House()
    async with listening(house, limit=1024) as listener:
        client = listener.client

        async def full() -> bool:
            client.send(b"\x81\x7e\xff\xfd" + b"x" * 65_533)
            return client.connection.paused

        await eventually_async(full)
        for _ in range(4):
            client.beat()
            await asyncio.sleep(0)
        assert client.closing


async def test_a_quiet_stream_says_now_and_then_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.01)
    async with listening(House()) as listener:
        async with asyncio.timeout(10):
            while await listener.reader.readline() != b":\n":
                pass


async def test_a_stream_whose_past_can_not_be_read_now_ends_so_that_it_is_asked_for_again() -> None:
    house = House(ring=1)
    house.publish("a", "a", "a")
    house.broken = True
    async with listening(house, "?topics=a&since=0") as listener:
        connected, error, close = await listener.messages(3)
        assert (connected["type"], error["code"]) == ("connected", "unavailable")
        assert (close["type"], close["code"]) == ("close", 1013)


async def test_what_is_older_than_the_ring_is_given_first() -> None:
    house = House(ring=1)
    house.publish("a", "b", "a")
    async with listening(house, "?topics=a&since=0") as listener:
        house.publish("a")
        messages = await listener.messages(5)
        assert [message["type"] for message in messages] == ["connected", "subscribed", *["test"] * 3]
        assert [message["cursor"] for message in messages[2:]] == [1, 3, 4]
