"""The bare Claude Agent SDK, as a bot is usually written with it: a client for each room, `query`, `receive_response`.

`python -m bench.references.claude_sdk API_URL HOME` reads commands from stdin and answers each with a line of JSON:

    cold N        N new conversations, one after the other: connected, asked, answered, disconnected
    warm N        the same, resuming a conversation from its file
    hot N         N answers of one connected client
    rooms N M     N clients connected and asked at once, then M times a question to all of them; and their memory
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

QUESTION = "[[say Good morning]]"
MODEL = "claude-sonnet-4-5"


class Sdk:
    """Clients that keep their files in one folder."""

    def __init__(self, url: str, home: Path) -> None:
        self._home = home
        (home / "work").mkdir(parents=True, exist_ok=True)
        self._env = {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "sk-stand-in",
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(home / ".claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
        }

    def client(self, resume: str | None = None) -> ClaudeSDKClient:
        """A client, not connected yet."""
        options = ClaudeAgentOptions(
            model=MODEL,
            setting_sources=[],
            tools=[],
            system_prompt="You are a helpful bot.",
            verbatim_prompts=True,
            cwd=self._home / "work",
            env=self._env,
            resume=resume,
        )
        return ClaudeSDKClient(options)

    async def cold(self, count: int, resume: str | None = None) -> dict[str, Any]:
        """Milliseconds from nothing to the answer, and of that to the connection."""
        connects, answers = [], []
        for _ in range(count):
            began = time.perf_counter()
            client = self.client(resume)
            await client.connect()
            connects.append(since(began))
            await ask(client)
            answers.append(since(began))
            await client.disconnect()
        return {"connect_ms": connects, "answer_ms": answers}

    async def warm(self, count: int) -> dict[str, Any]:
        """The same with a conversation that is there."""
        async with self.client() as client:
            session_id = await ask(client)
        return await self.cold(count, session_id)

    async def hot(self, count: int) -> dict[str, Any]:
        """Milliseconds to each answer; the first few don't count."""
        async with self.client() as client:
            for _ in range(3):
                await ask(client)
            before = cpu()
            answers = [await timed(client) for _ in range(count)]
            return {"answer_ms": answers, "cpu_ms": (cpu() - before) / count * 1000}

    async def rooms(self, rooms: int, rounds: int) -> dict[str, Any]:
        """Milliseconds until all have their first answer, to each later one, and what the clients take up."""
        clients = [self.client() for _ in range(rooms)]
        began = time.perf_counter()
        await asyncio.gather(*(first(client) for client in clients))
        all_first = since(began)
        answers = [each for _ in range(rounds) for each in await asyncio.gather(*map(timed, clients))]
        rss, pss = memory()
        # A client is bound to the task that connected it, so one after the other, in this one.
        for client in clients:
            await client.disconnect()
        return {"all_first_ms": all_first, "answer_ms": answers, "rss_mb": rss / rooms, "pss_mb": pss / rooms}


async def first(client: ClaudeSDKClient) -> None:
    """Connect and ask."""
    await client.connect()
    await ask(client)


async def timed(client: ClaudeSDKClient) -> float:
    """Milliseconds of one answer."""
    began = time.perf_counter()
    await ask(client)
    return since(began)


async def ask(client: ClaudeSDKClient) -> str:
    """One answer; returns the session's id."""
    await client.query(QUESTION)
    async for message in client.receive_response():
        if isinstance(message, ResultMessage):
            if message.is_error or message.result != "Good morning":
                raise RuntimeError(f"the turn failed: {message.result}")
            return message.session_id
    raise RuntimeError("no result")


def memory() -> tuple[float, float]:
    """MB of all our children: resident, and with what they share counted once (NaN where the system doesn't tell)."""
    rss = pss = 0.0
    for child in psutil.Process(os.getpid()).children(recursive=True):
        found = child.memory_full_info()
        rss += found.rss
        pss += getattr(found, "pss", float("nan"))
    return rss / 1e6, pss / 1e6


def cpu() -> float:
    """CPU seconds of this process and its living children so far."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in family)


def since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


async def main(url: str, home: str) -> None:
    """Answer the commands on stdin until it ends."""
    sdk = Sdk(url, Path(home))
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *numbers = line.split()
        figures = await getattr(sdk, name)(*map(int, numbers))
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
