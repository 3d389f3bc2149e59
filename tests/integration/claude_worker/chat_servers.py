"""The whole way of a chat server's message: its webhook, the ingress, the bus, the workers, and back into the room."""

import asyncio
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg

from cli.local.ports import free_port
from services.claude_worker.handlers.busy import WAITS
from services.claude_worker.store.registry import LEASE_SECONDS
from standins.campfire import Campfire, Person, Room
from standins.messages_api import MessagesAPI
from standins.server import Exchange
from tests.integration.callbacks.receiver import Receiver
from tests.integration.claude_worker.rooms import Rooms, T
from tests.waiting import eventually_async

API_KEY = "integration-test-key-0123456789"
SECRET = "integration-test-secret-0123456789-0123456789"
CALLBACK_SECRET = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3"
ROOT = Path(__file__).resolve().parents[3]
# What a new owner waits for at most: the lease of the one that died, and the end of its last attempt.
TAKEN_OVER = LEASE_SECONDS + 25
BOTS = """
[sources.bender]
scheme = "campfire"
secret = "campfire-token"
url = "{url}"

[sources.ada]
scheme = "campfire"
secret = "campfire-token"
url = "{url}"

[sources.our_chat]
scheme = "api_key"
secret = "our-chat-secret"
chat = "bender"

[bots.bender]
name = "Bender Bot"
model = "claude-sonnet-4-5"

[bots.ada]
name = "Ada Counts"
model = "claude-sonnet-4-5"

[bots.grower]
name = "Grower"
model = "claude-sonnet-4-5"
edit_while_streaming = true

[sources.grower]
scheme = "campfire"
secret = "campfire-token"
url = "{url}"
"""


class MoodyCampfire(Campfire):
    """A Campfire whose next answers to posts of bots may be told: `away` (503), `lost` (done, but nobody hears of
    it), `held` (done, and silence)."""

    def __init__(self) -> None:
        super().__init__()
        self.moods: deque[str] = deque()

    async def answer(self, exchange: Exchange) -> None:
        is_bots = (
            exchange.method == "POST" and exchange.path.startswith("/rooms/") and exchange.path.endswith("/messages")
        )
        mood = self.moods.popleft() if is_bots and self.moods else ""
        if mood == "away":
            await exchange.reply(503)
            return
        if mood in ("lost", "held"):

            async def say_nothing(*_: Any, **__: Any) -> None:
                if mood == "held":
                    await asyncio.Event().wait()
                exchange.cut()

            exchange.reply = say_nothing  # type: ignore[method-assign]
        await super().answer(exchange)


class ChatServers(Rooms):
    """Rooms that chat servers lead to."""

    def __init__(
        self,
        amqp_url: str,
        database_url: str,
        folder: Path,
        api: MessagesAPI,
        campfire: MoodyCampfire,
        bots: str = BOTS,
    ) -> None:
        super().__init__(amqp_url, database_url, folder, api, bots.replace("{url}", campfire.url))
        self.campfire = campfire
        self.folder = folder
        self.ingress_port = free_port()
        self._contexts = ExitStack()
        self.receiver = self._contexts.enter_context(Receiver().running())
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.ingress_port}", headers={"X-API-Key": API_KEY}, timeout=20
        )

    @property
    def environment(self) -> dict[str, str]:
        """What every service is told."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")},
            "DATABASE_URL": self.database_url,
            "AMQP_URL": self.amqp_url,
            "SWITCHYARD_API_KEY": API_KEY,
            "SWITCHYARD_SECRET": SECRET,
            "SWITCHYARD_CALLBACK_SECRET": CALLBACK_SECRET,
            "SWITCHYARD_CALLBACK_ALLOW": "127.0.0.1",
            "SWITCHYARD_CONFIG": str(self.config),
            "SWITCHYARD_INGRESS_PORT": str(self.ingress_port),
            "SWITCHYARD_DATA": str(self.folder),
            "SWITCHYARD_LOG_FORMAT": "json",
            "SWITCHYARD_LOG_LEVEL": "debug",
            "ANTHROPIC_BASE_URL": self.api.url,
            "ANTHROPIC_API_KEY": "sk-stand-in",
        }

    def start_service(self, name: str) -> subprocess.Popen[bytes]:
        """One more process of a service; its log is in the folder."""
        told = {**self.environment, "SWITCHYARD_WORKERS_PORT": str(free_port(range(6)))}
        with (self.folder / f"{name}-{len(self.processes)}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"], cwd=ROOT, env=told, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def is_ready(self) -> bool:
        """Whether the ingress takes messages."""
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self.http.close()
        self._contexts.close()
        super().close()

    def until(self, condition: Callable[[], T], deadline: float = 20, because: str = "") -> T:
        """`eventually`, with this end of the bus alive meanwhile."""

        async def look() -> T:
            return condition()

        return self.run(eventually_async(look, deadline, interval=0.1, because=because))

    def command(self, name: str, **data: Any) -> dict[str, Any]:
        """The result of a command by HTTP."""
        answer = self.http.post(f"/api/commands/{name}", json=data)
        assert answer.status_code in (200, 201), answer.text
        result: dict[str, Any] = answer.json()
        return result

    def bot(self, name: str, bot_id: str) -> Person:
        """A new bot of Campfire whose messages come to a source."""
        return self.campfire.add_bot(
            name, f"http://127.0.0.1:{self.ingress_port}/webhook/{bot_id}?token=campfire-token"
        )

    def said_by(self, room: Room, bot: Person, count: int, deadline: float = 30) -> list[str]:
        """What a reader sees of a bot's messages, once there are so many; that it is busy on a slow machine aside."""

        def shown() -> list[str]:
            return [each.shown for each in room.by(bot) if each.shown != WAITS]

        self.until(lambda: len(shown()) >= count, deadline, because=f"{count} messages of the bot in the room")
        return shown()

    def logs(self) -> str:
        """Everything that was written to logs."""
        return "\n".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))

    def everything_kept(self) -> str:
        """Every row of every table, as text."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
            rows = [
                row[0]
                for (table,) in tables
                for row in connection.execute(f'select t::text from "{table}" as t').fetchall()  # type: ignore[arg-type]
            ]
        return "\n".join(rows)

    def everything_told(self) -> str:
        """Every event, as text."""
        return json.dumps(self.events(), ensure_ascii=False)
