"""A webhook door as usually written: FastAPI takes the raw body and checks it, FastStream publishes and confirms."""

import argparse
import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request
from faststream.rabbit import QueueType, RabbitBroker, RabbitQueue

SECRET = os.environ["BENCH_SECRET"].encode()
QUEUE = RabbitQueue("reference.fastapi", queue_type=QueueType.QUORUM, durable=True)
broker = RabbitBroker(os.environ["AMQP_URL"])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with broker:
        await broker.declare_queue(QUEUE)
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/webhook", status_code=202)
async def webhook(
    request: Request,
    x_hub_signature_256: Annotated[str, Header()],
    x_github_event: Annotated[str, Header()],
    x_github_delivery: Annotated[str, Header()],
) -> dict[str, str]:
    body = await request.body()
    expected = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, x_hub_signature_256):
        raise HTTPException(401, "bad signature")
    message_id = str(uuid4())
    await broker.publish(
        body,
        QUEUE,
        persist=True,
        message_id=message_id,
        content_type="application/json",
        headers={"event": x_github_event, "delivery": x_github_delivery},
    )
    return {"message_id": message_id, "status": "accepted"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        app,
        port=parser.parse_args().port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        lifespan="on",
    )
