"""What the peers share: the no-op's record, and a producer. Runs in their own environment, without this checkout."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable

# Callers that send at once: a web server's threads, or its coroutines.
THREADS = 8
OUTSTANDING = 100
_record = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def done(at: float) -> None:
    """The no-op: note how long after its moment it began; whoever started us counts the notes."""
    os.write(_record, struct.pack("<d", time.time() - at))


def produce(send: Callable[[float], object]) -> None:
    """Send as many tasks as asked (COUNT, RATE or 0), from several threads at full speed, else on time."""
    count, rate = int(sys.argv[1]), float(sys.argv[2])
    send_some = _on_time if rate else _at_once
    began = time.time()
    send_some(send, count, rate)
    _tell(began)


def _on_time(send: Callable[[float], object], count: int, rate: float) -> None:
    began = time.time()
    for number in range(count):
        due = began + number / rate
        time.sleep(max(0.0, due - time.time()))
        send(due)


def _at_once(send: Callable[[float], object], count: int, _: float) -> None:
    def share() -> None:
        for _ in range(count // THREADS):
            send(time.time())

    threads = [threading.Thread(target=share) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def produce_async(send: Callable[[float], Awaitable[object]]) -> None:
    """The same with coroutines."""
    count, rate = int(sys.argv[1]), float(sys.argv[2])
    room = asyncio.Semaphore(OUTSTANDING)
    under_way: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        await send(due)
        room.release()

    began = time.time()
    for number in range(count):
        due = began + number / rate if rate else time.time()
        await asyncio.sleep(max(0.0, due - time.time()))
        await room.acquire()
        task = asyncio.create_task(one(due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    _tell(began)


def _tell(began: float) -> None:
    sys.stdout.write(json.dumps({"began": began, "sent": time.time()}) + "\n")
    sys.stdout.flush()
