"""Fan-out as FastAPI's own documentation shows it: `await ws.send_text` for each client in a loop."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from bench.load.offer import serve_commands

clients: list[WebSocket] = []


async def publish(events: list[bytes]) -> None:
    for event in events:
        text = event.decode()
        for client in clients:
            await client.send_text(text)
    await asyncio.sleep(0)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    commands = asyncio.create_task(serve_commands(publish))
    yield
    commands.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws")
async def ws(client: WebSocket) -> None:
    await client.accept()
    clients.append(client)
    try:
        while True:
            await client.receive_text()
    except WebSocketDisconnect:
        clients.remove(client)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    uvicorn.run(app, port=port, loop="uvloop", log_level="warning", ws_per_message_deflate=False)
