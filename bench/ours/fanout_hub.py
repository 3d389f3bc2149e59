"""The gateway's own server, clients, subscriptions, queues and hub; events are handed to its intake inside the process.

What is left out is the broker: everything from the intake on is what the gateway does with events its tail has read.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
from collections.abc import AsyncIterator
from typing import Any, cast

import uvloop
from prometheus_client import CollectorRegistry

from bench.load.events import ROUTING_KEY
from bench.load.offer import serve_commands
from services.ws_gateway.commands import Commands
from services.ws_gateway.door.access import Limits
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.history.pages import Pages
from services.ws_gateway.history.resume import Library
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.stream.intake import Epoch, Intake
from services.ws_gateway.stream.ring import Ring
from services.ws_gateway.wire.server import Server
from shared import logs
from shared.bus.rpc import Rpc
from shared.bus.tail import StreamEvent
from shared.key_ring import KeyRing


async def no_query(_: str, __: dict[str, Any]) -> bytes:
    raise RuntimeError("there is no worker behind this gateway")


def no_stream(_: int, __: int) -> AsyncIterator[list[StreamEvent]]:
    raise RuntimeError("there is no stream behind this gateway")


async def main(port: int) -> None:
    logs.configure("fanout_hub", level="warning")
    hub = Hub(Ring(20_000, 64 * 1024 * 1024))
    ring = KeyRing(None)
    metrics = Metrics(hub, CollectorRegistry())
    intake = Intake(hub, metrics)
    intake.begin(Epoch("bench", 0), 1)
    gateway = Gateway(
        secret=os.environ["SWITCHYARD_SECRET"],
        origins=frozenset(),
        limits=Limits(),
        hub=hub,
        intake=intake,
        library=Library(hub, Pages(hub, intake, no_stream, no_query), metrics),
        commands=Commands(cast(Rpc, None), metrics, ring, os.environ["SWITCHYARD_SECRET"]),
        ring=ring,
        metrics=metrics,
        call_later=asyncio.get_running_loop().call_later,
    )
    await Server(gateway, lambda _: None, lambda: True).start("127.0.0.1", port)
    offsets = itertools.count(1)

    async def publish(events: list[bytes]) -> None:
        intake.take([StreamEvent(next(offsets), ROUTING_KEY, event, "") for event in events])
        await asyncio.sleep(0)
        while hub.slow:  # noqa: ASYNC110
            await asyncio.sleep(0)

    gc.freeze()
    await serve_commands(publish)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(main(parser.parse_args().port))
