"""A client's WebSocket, on a socket of this process."""

import json

import pytest
from websockets.asyncio.client import connect

from services.ws_gateway.wire.server import Server
from tests.unit.ws_gateway.house import House, token
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


async def test_who_pings_but_does_not_read_is_not_heard_until_it_has_read() -> None:
    house = House()
    server = Server(house.gateway, lambda path: None, lambda: True)
    port = await server.start("127.0.0.1", 0)
    headers = {"Authorization": f"Bearer {token()}"}
    async with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers, compression=None) as ws:
        assert json.loads(await ws.recv())["type"] == "connected"
        (client,) = house.gateway.clients
        client.full()
        answered = await ws.ping()

        async def is_held() -> bool:
            return client._held

        await eventually_async(is_held, because="its pongs would pile up")
        await ws.send('{"type": "ping"}')
        await answered
        assert client.received == 0
        client.drained()
        assert json.loads(await ws.recv())["type"] == "pong"
    server.stop_listening()

    async def is_gone() -> bool:
        return not house.gateway.clients

    await eventually_async(is_gone)
