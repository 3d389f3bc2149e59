"""A client's WebSocket, on a socket of this process."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect

from services.ws_gateway.wire.server import Server
from tests.unit.ws_gateway.house import House, token
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(house: House) -> AsyncIterator[ClientConnection]:
    server = Server(house.gateway, lambda path: None, lambda: True)
    port = await server.start("127.0.0.1", 0)
    headers = {"Authorization": f"Bearer {token()}"}
    async with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers, compression=None) as ws:
        assert json.loads(await ws.recv())["type"] == "connected"
        yield ws
    server.stop_listening()

    async def is_gone() -> bool:
        return not house.gateway.clients

    await eventually_async(is_gone)


async def test_who_pings_but_does_not_read_is_not_heard_until_it_has_read() -> None:
    house = House()
    async with connected(house) as ws:
        (client,) = house.gateway.clients
        client.full()
        answered = await ws.ping()

        async def is_held() -> bool:
            return client._held

        await eventually_async(is_held, because="its pongs would pile up")
        await ws.send('{"type": "ping"}')
        await answered
        assert client.answers.received == 0
        client.drained()
        assert json.loads(await ws.recv())["type"] == "pong"


async def test_whoever_is_gone_is_forgotten_without_the_garbage_collector() -> None:
    house = House()
    house.gateway.call_later = lambda seconds, act: asyncio.get_running_loop().call_later(seconds, act)
    gc.collect()
    gc.disable()
    try:
        async with connected(house) as ws:
            await ws.send('{"type":"subscribe","topics":["a.#"],"deflate":true}')
            assert json.loads(await ws.recv())["type"] == "subscribed"
            (client,) = house.gateway.clients
            parts = [weakref.ref(part) for part in (client, client.reader, client._link)]
            del client

        async def are_forgotten() -> bool:
            return [part() for part in parts] == [None, None, None]

        await eventually_async(are_forgotten, because="the collector comes seldom")
    finally:
        gc.enable()
