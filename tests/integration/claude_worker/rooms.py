"""Claude workers as processes, with the real SDK and CLI, a stand-in of the Messages API, and who talks in rooms."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson
import psutil
import psycopg

from cli.local.ports import free_port
from shared.bus.tail import StreamEvent
from shared.messages import encode_command, new_id, spec_of
from shared.messages.envelope import Trust
from standins.messages_api import MessagesAPI
from tests.integration.bus.clients import Clients
from tests.waiting import eventually_async

T = TypeVar("T")
ENDS = ("chat_answered", "chat_failed", "chat_dropped", "chat_merged")
BOTS = """
[bots.helper]
model = "claude-sonnet-4-5"
system_prompt = "You are a test."
"""


class Rooms:
    """The processes and a client of the bus; everything ends with `close`."""

    def __init__(self, amqp_url: str, database_url: str, folder: Path, api: MessagesAPI, bots: str = BOTS) -> None:
        self.amqp_url = amqp_url
        self.database_url = database_url
        self.api = api
        self.config = folder / "switchyard.toml"
        self.config.write_text(bots)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._events: list[StreamEvent] = []
        self.clients = Clients(self._stack)
        self._rpc = self.run(self.clients.rpc(amqp_url))
        self.run(self._listen())

    async def _listen(self) -> None:
        self._events = self.clients.tail(self.amqp_url)

    def run(self, work: Awaitable[T]) -> T:
        """The result of a coroutine, on the loop that everything here belongs to."""

        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.run(self._stack.aclose())
        self._runner.close()

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """One more worker, at work when this returns."""
        told = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")},
            "DATABASE_URL": self.database_url,
            "AMQP_URL": self.amqp_url,
            "SWITCHYARD_WORKERS_PORT": str(free_port(range(4))),
            "SWITCHYARD_CONFIG": str(self.config),
            "ANTHROPIC_BASE_URL": self.api.url,
            "ANTHROPIC_API_KEY": "sk-stand-in",
            **environment,
        }
        process = subprocess.Popen([sys.executable, "-m", "services.claude_worker"], env=told)
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        """End a worker; its exit status."""
        process.send_signal(number)
        self.processes.remove(process)
        return process.wait(30)

    async def ask(
        self, name: str, /, *, by: str = "ada", hops: int = 0, trust: Trust = "trusted", **data: Any
    ) -> dict[str, Any]:
        """The result of a command, or its error."""
        spec, message_id = spec_of(name), data.pop("message_id", None) or new_id()
        if spec.reads:
            result: dict[str, Any] = (await self._rpc.query(name, data, sender=by)).value()
            return result
        body = encode_command(name, data, message_id=message_id, sender_agent_id=by, hops=hops, trust=trust)
        reply = orjson.loads(await self._rpc.request(spec, body, message_id=message_id, wait=40))
        return dict(reply["result"] if reply["ok"] else reply["error"])

    def send(self, name: str, /, **data: Any) -> dict[str, Any]:
        return self.run(self.ask(name, **data))

    async def said(self, text: str, room: str = "r1", *, bot: str = "helper", **more: Any) -> dict[str, Any]:
        """The turn that a message has become."""
        data = {"room_id": room, "bot_id": bot, "user_name": "Ada", "text": text, **more}
        turn: dict[str, Any] = (await self.ask("chat_message", **data))["turn"]
        return turn

    async def ended(self, turn_id: str, deadline: float = 40) -> dict[str, Any]:
        """The turn at its end, with the event's type."""

        async def look() -> dict[str, Any] | None:
            ends = [event for event in self.events(*ENDS) if event["turn"]["turn_id"] == turn_id]
            return {**ends[0]["turn"], "event": ends[0]["type"]} if ends else None

        found = await eventually_async(look, deadline, because=f"the end of turn {turn_id}")
        assert found is not None
        return found

    def talk(self, text: str, room: str = "r1", **more: Any) -> dict[str, Any]:
        """Say something and wait for the answer."""

        async def both() -> dict[str, Any]:
            return await self.ended((await self.said(text, room, **more))["turn_id"])

        return self.run(both())

    def events(self, *types: str) -> list[dict[str, Any]]:
        """What was told so far, in its order; what comes again under its id, as after a crash, once."""
        told: dict[str, dict[str, Any]] = {}
        for event in self._events:
            document = orjson.loads(event.body)
            told.setdefault(document["message_id"], document)
        documents = told.values()
        return [document for document in documents if not types or document["type"] in types]

    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description is not None else []


def clients_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes of Claude Code that a worker has started."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        # It may just be going.
        with suppress(psutil.NoSuchProcess):
            if "claude" in child.name():
                found.append(child)
    return found
