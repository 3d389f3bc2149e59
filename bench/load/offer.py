"""Offering events to a server: one after another as fast as they go out, or at a steady rate."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from bench.load.events import event

Publish = Callable[[list[bytes]], Awaitable[None]]
Make = Callable[[int], bytes]

# Timers of the event loop are a millisecond coarse: wake early, then turn the loop until the moment has come.
EARLY = 0.0012


@dataclass(frozen=True)
class Offered:
    """How many events were handed over, and how long that took."""

    events: int
    seconds: float


async def offer(
    publish: Publish, burst: int, rate: float, seconds: float, in_flight: int = 1, make: Make = event
) -> Offered:
    """Publish events for `seconds`, `burst` of them at a time.

    `rate` is events a second, 0 for as fast as they go out: the next burst then follows when fewer than `in_flight`
    calls of `publish` are pending. At a steady rate each event carries the moment it was due, so that a server that
    lags behind its schedule is charged for it. `make` turns a moment into what is published.
    """
    if rate:
        return await _steadily(publish, burst, rate, seconds, make)
    began = time.monotonic_ns()
    deadline, sent = began + int(seconds * 1e9), 0
    pending: deque[asyncio.Future[None]] = deque()
    while (now := time.monotonic_ns()) < deadline:
        events = [make(now) for _ in range(burst)]
        sent += burst
        if in_flight == 1:
            await publish(events)
            continue
        pending.append(asyncio.ensure_future(publish(events)))
        if len(pending) >= in_flight:
            await pending.popleft()
        await asyncio.sleep(0)
    await asyncio.gather(*pending)
    return Offered(sent, (time.monotonic_ns() - began) / 1e9)


async def _steadily(publish: Publish, burst: int, rate: float, seconds: float, make: Make) -> Offered:
    step = burst / rate
    began = time.monotonic() + 0.01
    bursts = max(1, int(seconds / step))
    pending: set[asyncio.Future[None]] = set()
    for number in range(bursts):
        due = began + number * step
        if (early := due - time.monotonic() - EARLY) > 0:
            await asyncio.sleep(early)
        while time.monotonic() < due:  # noqa: ASYNC110
            await asyncio.sleep(0)
        pending.add(asyncio.ensure_future(publish([make(int(due * 1e9)) for _ in range(burst)])))
        pending = {task for task in pending if not task.done() or task.exception()}
    await asyncio.gather(*pending)
    return Offered(bursts * burst, time.monotonic() - began)


async def serve_commands(publish: Publish) -> None:
    """Inside a server under test: read `run BURST RATE SECONDS` lines from stdin, answer each with a line of JSON."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        _, burst, rate, seconds = line.split()
        offered = await offer(publish, int(burst), float(rate), float(seconds))
        sys.stdout.write(json.dumps(asdict(offered)) + "\n")
        sys.stdout.flush()
