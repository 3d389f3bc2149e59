"""Tasks through our bus: delegated, claimed by 50 and completed, every step confirmed; or one at a time, for latency.

`python -m bench.ours.tasks flood COUNT` or `python -m bench.ours.tasks steady COUNT RATE`, with AMQP_URL and an
agent and sessions made by itself; prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import uvloop

from shared import logs
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.bus.topology import COMMANDS
from shared.messages import JsonText, encode_command, new_id, spec_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AGENT = "bench"
SESSIONS = 20
CLAIMED_AT_ONCE = 50
# Claims under way at once; each completes what it got before it claims again.
CLAIMERS = 4
# Those that wait one task at a time, for the latency: enough that one always waits.
WAITING = 16
# Delegations the broker has not confirmed yet.
OUTSTANDING = 500
WAIT_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


class Client:
    """Commands over the bus, with or without waiting for the reply."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._rpc = Rpc(publisher)

    async def ask(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """The result of a command."""
        message_id = new_id()
        body = encode_command(name, data, message_id=message_id, sender_agent_id="bench")
        reply = await self._rpc.request(
            spec_of(name), body, message_id=message_id, wait=PATIENCE_SECONDS, deadline=PATIENCE_SECONDS
        )
        answer = orjson.loads(reply)
        if not answer["ok"]:
            raise RuntimeError(answer["error"]["message"])
        result: dict[str, Any] = answer["result"]
        return result

    def send(self, name: str, data: dict[str, Any]) -> asyncio.Future[None]:
        """Publish a command; the future resolves when the broker has it."""
        message_id = new_id()
        body = encode_command(name, data, message_id=message_id, sender_agent_id="bench")
        return self._publisher.send(COMMANDS, spec_of(name).routing_key, body, message_id=message_id)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """A client, with the agent and the sessions there."""
    publisher = Publisher(url, name="bench")
    client = Client(publisher)
    running = asyncio.create_task(publisher.run())
    try:
        await publisher.wait_connected()
        await client.ask("register_agent", {"name": AGENT, "type": "bench", "max_concurrent": 0})
        for number in range(SESSIONS):
            try:
                await client.ask("create_session", {"session_id": session(number)})
            except RuntimeError as error:
                if "exists" not in str(error):
                    raise
        yield client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def session(number: int) -> str:
    """One of the sessions the tasks belong to, in turn."""
    return f"bench-{number % SESSIONS}"


async def flood(client: Client, count: int) -> dict[str, float]:
    """Delegate as fast as the broker confirms, claim by 50 and complete at the same time; returns tasks a second."""
    began = time.monotonic()
    done = 0
    room = asyncio.Semaphore(OUTSTANDING)

    async def delegate() -> None:
        for number in range(count):
            await room.acquire()
            sent = client.send("delegate_task", {**_task(number), "input_data": {"number": number}})
            sent.add_done_callback(lambda _: room.release())
        for _ in range(OUTSTANDING):
            await room.acquire()

    async def work(name: str) -> None:
        nonlocal done
        while done < count:
            claim = {"agent_name": AGENT, "worker_id": name, "count": CLAIMED_AT_ONCE, "wait_s": WAIT_SECONDS}
            tasks = (await client.ask("claim_task", claim))["tasks"]
            await asyncio.gather(*(client.ask("complete_task", _leased(task)) for task in tasks))
            done += len(tasks)
            if not tasks:
                break

    workers = [asyncio.create_task(work(f"w{number}")) for number in range(CLAIMERS)]
    await delegate()
    enqueued = time.monotonic() - began
    while done < count:  # noqa: ASYNC110 (a millisecond of some seconds)
        await asyncio.sleep(0.001)
    took = time.monotonic() - began
    # What still waits for tasks must not be given those of the next run.
    await asyncio.gather(*workers)
    return {"tasks": done, "per_second": done / took, "enqueued_per_second": count / enqueued}


async def steady(client: Client, count: int, rate: float) -> dict[str, float]:
    """Delegate at a steady rate to claimers that wait; returns how long until each task is in a claimer's hands."""
    started: dict[int, float] = {}
    offered: dict[int, float] = {}

    async def work(name: str) -> None:
        while len(started) < count:
            claim = {"agent_name": AGENT, "worker_id": name, "count": 1, "wait_s": WAIT_SECONDS}
            for task in (await client.ask("claim_task", claim))["tasks"]:
                started[task["input_data"]["number"]] = time.monotonic()
                await client.ask("complete_task", _leased(task))

    workers = [asyncio.create_task(work(f"w{number}")) for number in range(WAITING)]
    await asyncio.sleep(0.3)
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        offered[number] = time.monotonic()
        client.send("delegate_task", {**_task(number), "input_data": {"number": number}})
    await asyncio.gather(*workers)
    waits = sorted((started[number] - offered[number]) * 1000 for number in range(count // 10, count))
    return {
        "p50_ms": waits[len(waits) // 2],
        "p99_ms": waits[int(len(waits) * 0.99)],
        "max_ms": waits[-1],
    }


def _task(number: int) -> dict[str, Any]:
    return {"session_id": session(number), "agent_name": AGENT, "task_type": "no-op"}


def _leased(task: dict[str, Any]) -> dict[str, Any]:
    return {"task_id": task["task_id"], "lease_token": task["lease_token"], "output_data": JsonText(b'{"ok":true}')}


async def main(arguments: list[str]) -> None:
    """Run one measurement and print it."""
    logs.configure("ours-tasks", level="warning")
    how, count = arguments[0], int(arguments[1])
    async with connected(os.environ["AMQP_URL"]) as client:
        if how == "flood":
            await flood(client, min(count, 500))
            figures = await flood(client, count)
        else:
            figures = await steady(client, count, float(arguments[2]))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
