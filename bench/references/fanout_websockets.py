"""Fan-out with the `websockets` library's own `broadcast`."""

import argparse
import asyncio

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.load.offer import serve_commands

clients: set[ServerConnection] = set()


async def publish(events: list[bytes]) -> None:
    for event in events:
        broadcast(clients, event.decode())
    await asyncio.sleep(0)


async def on_client(client: ServerConnection) -> None:
    clients.add(client)
    try:
        await client.wait_closed()
    finally:
        clients.discard(client)


async def main(port: int) -> None:
    async with serve(on_client, "127.0.0.1", port, compression=None, backlog=1024):
        await serve_commands(publish)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(main(parser.parse_args().port))
