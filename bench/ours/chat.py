"""Who talks to our bots and waits for `chat_answered`, on the bus: `python -m bench.ours.chat AMQP_URL`.

Reads commands from stdin and answers each with a line of JSON, as `bench.references.claude_sdk` does; its milliseconds
run from the publishing of `chat_message` to its `chat_answered`:

    cold N        N new conversations, one after the other
    warm N        one answer more of each of those, after their clients were closed
    hot N         N answers of one connected client
    rooms N M     N new rooms asked at once, then M times a question to all of them
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import orjson
import uvloop

from shared import logs
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.bus.tail import StreamEvent, Tail
from shared.messages import encode_command, new_id, spec_of

QUESTION = "[[say Good morning]]"
BOT = "bench"
# Whoever is called like the bot is not answered.
SENDER = "talker"
ENDS = (b'"chat_answered"', b'"chat_failed"', b'"chat_dropped"')
PATIENCE = 120.0
# So soon a client is closed that is to be started anew.
AT_ONCE_MINUTES = 0.001


class Talker:
    """Talks in rooms."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        # By the message's id: when its end was told, and the turn.
        self._ends: dict[str, asyncio.Future[tuple[float, dict[str, Any]]]] = {}
        self._cold: list[str] = []

    def on_events(self, events: list[StreamEvent]) -> None:
        """Whatever was told on the bus."""
        at = time.perf_counter()
        for event in events:
            if not any(end in event.body for end in ENDS):
                continue
            told = orjson.loads(event.body)
            end = self._ends.pop(told["correlation_id"], None)
            if end is not None and not end.done():
                end.set_result((at, told["turn"]))

    async def cold(self, count: int) -> dict[str, Any]:
        """New conversations, whose clients go as soon as they have answered."""
        rooms = [new_id() for _ in range(count)]
        for room in rooms:
            await self._run("set_chat", room_id=room, bot_id=BOT, idle_minutes=AT_ONCE_MINUTES)
        self._cold = rooms
        return _figures([await self._ask(room, "cold") for room in rooms])

    async def warm(self, count: int) -> dict[str, Any]:
        """The same conversations, taken up again."""
        rooms = self._cold[:count]
        async with asyncio.timeout(PATIENCE):
            while await self._live(rooms):  # noqa: ASYNC110 - workers tell every 2 s
                await asyncio.sleep(0.5)
        return _figures([await self._ask(room, "warm") for room in rooms])

    async def hot(self, count: int) -> dict[str, Any]:
        """Answers of a connected client; the first few don't count."""
        room = new_id()
        await self._ask(room, "cold")
        for _ in range(3):
            await self._ask(room, "hot")
        return _figures([await self._ask(room, "hot") for _ in range(count)])

    async def rooms(self, rooms: int, rounds: int) -> dict[str, Any]:
        """Many rooms side by side."""
        names = [new_id() for _ in range(rooms)]
        began = time.perf_counter()
        await asyncio.gather(*(self._ask(name, "cold") for name in names))
        all_first = (time.perf_counter() - began) * 1000
        asked = [await asyncio.gather(*(self._ask(name, "hot") for name in names)) for _ in range(rounds)]
        return {"all_first_ms": all_first, **_figures([each for one in asked for each in one])}

    async def _ask(self, room: str, path: str) -> tuple[float, dict[str, Any]]:
        """Milliseconds to an answer, and the turn; RuntimeError when it is none, or came about otherwise."""
        message_id = new_id()
        end = self._ends[message_id] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        said = {"room_id": room, "bot_id": BOT, "user_name": "Ada", "text": QUESTION}
        await self._run("chat_message", message_id=message_id, **said)
        async with asyncio.timeout(PATIENCE):
            at, turn = await end
        if turn["answer"] != "Good morning" or turn["path"] != path:
            raise RuntimeError(f"not a {path} answer: {turn}")
        return (at - began) * 1000, turn

    async def _run(self, name: str, /, message_id: str = "", **data: Any) -> None:
        message_id = message_id or new_id()
        body = encode_command(name, data, message_id=message_id, sender_agent_id=SENDER)
        reply = orjson.loads(await self._rpc.request(spec_of(name), body, message_id=message_id, wait=PATIENCE))
        if not reply["ok"]:
            raise RuntimeError(f"{name} was refused: {reply['error']}")

    async def _live(self, rooms: list[str]) -> bool:
        """Whether one of these rooms still has a client, as the worker tells every 2 s."""
        stats = (await self._rpc.query("chat_stats", {}, sender=SENDER)).value()
        live = {each["room_id"] for worker in stats["workers"] for each in worker["sessions"]}
        return not live.isdisjoint(rooms)


def _figures(asked: list[tuple[float, dict[str, Any]]]) -> dict[str, Any]:
    return {
        "answer_ms": [took for took, _ in asked],
        "connect_ms": [turn["connect_ms"] for _, turn in asked],
        "waited_ms": [turn["waited_ms"] for _, turn in asked],
        "asking_ms": [turn["answer_ms"] for _, turn in asked],
    }


async def main(url: str) -> None:
    """Answer the commands on stdin until it ends."""
    # Standard output is for the figures.
    logs.configure("bench", level="error")
    async with AsyncExitStack() as stack:
        publisher = Publisher(url, name="bench")
        talker = Talker(Rpc(publisher))
        tail = Tail(url, name="bench", on_events=talker.on_events, start="next")
        for work in (publisher.run(), tail.run()):
            stack.callback(asyncio.ensure_future(work).cancel)
        async with asyncio.timeout(30):
            await publisher.wait_connected()
            while not tail.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, *numbers = line.split()
            figures = await getattr(talker, name)(*map(int, numbers))
            sys.stdout.write(json.dumps(figures) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
