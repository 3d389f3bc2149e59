"""A webhook door at its limit in Python: a bare ASGI handler, prebuilt AMQP frames, pipelined confirms."""

import argparse
import hashlib
import hmac
import os
from uuid import uuid4

import uvicorn
from pamqp import commands

from bench.references.minimal_amqp import Publisher, publish_frame

SECRET = os.environ["BENCH_SECRET"].encode()
QUEUE = "reference.asgi"
TO_QUEUE = publish_frame("", QUEUE)
publisher: Publisher
JSON = [(b"content-type", b"application/json")]


async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    body, more = b"", True
    while more:
        part = await receive()
        body, more = body + part["body"], part.get("more_body", False)
    headers = dict(scope["headers"])
    expected = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), headers.get(b"x-hub-signature-256", b"")):
        await send({"type": "http.response.start", "status": 401, "headers": []})
        return await send({"type": "http.response.body"})
    await publisher.publish(TO_QUEUE, body)
    await send({"type": "http.response.start", "status": 202, "headers": JSON})
    return await send({"type": "http.response.body", "body": b'{"message_id":"%s"}' % str(uuid4()).encode()})


async def lifespan(receive, send) -> None:  # type: ignore[no-untyped-def]
    global publisher
    await receive()
    publisher = await Publisher.open(os.environ["AMQP_URL"])
    declare = commands.Queue.Declare(queue=QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    await publisher.call(declare, commands.Queue.DeclareOk)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    publisher.close()
    await send({"type": "lifespan.shutdown.complete"})


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
