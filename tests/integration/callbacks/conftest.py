"""Callbacks on a real database, POSTed to a real receiver on loopback, without a broker."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop

from services.task_worker.callbacks.commands import HANDLERS, QUERIES, list_callbacks
from services.task_worker.callbacks.post import tls_context
from services.task_worker.callbacks.sender import Sender
from services.task_worker.callbacks.signing import Signer
from services.task_worker.callbacks.targets import resolve
from shared.messages import Command, decode_command, encode_command, new_id
from shared.targets import Allowed
from tests.integration.callbacks.receiver import Receiver
from tests.integration.handling import Handling
from tests.waiting import eventually_async

SECRET = "whsec_" + "c3dpdGNoeWFyZC10ZXN0cy1zZWNyZXQh"

Row = dict[str, Any]


class Desk(Handling):
    """Owes callbacks as the worker runtime does, sends them, and looks at them as `list_callbacks` shows them."""

    handlers = HANDLERS
    queries = QUERIES

    def __init__(self, url: str) -> None:
        super().__init__(url)
        # The loop the services run on, which has sockets and TLS of its own.
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def owe(self, url: str, **result: Any) -> str:
        """Owe the reply of a reading command; returns its message id."""
        message_id = new_id()
        data = {"url": url, "message_id": message_id, "command": "get_session", "result": result}
        self.run(self.commit(self.command("send_callback", data)))
        return message_id

    @staticmethod
    def calling_back(url: str, name: str, message_id: str | None = None, **data: Any) -> Command:
        """A command whose reply is to be sent to a URL."""
        body = encode_command(name, data, message_id=message_id or new_id(), sender_agent_id="ada", callback_url=url)
        return decode_command(body)

    def rows(self, **wanted: Any) -> list[Row]:
        """The callbacks, the oldest first."""
        shown = self.ask("list_callbacks", **{"limit": 500, **wanted})
        assert "callbacks" in shown, shown
        rows: list[Row] = shown["callbacks"]
        return rows[::-1]

    def send(
        self,
        attempts: int = 1,
        *,
        allow: str = "127.0.0.1",
        secret: str = SECRET,
        resolver: Any = resolve,
        tls: ssl.SSLContext | None = None,
        senders: int = 1,
        patience: float = 10,
        **options: float,
    ) -> list[Row]:
        """Run a sender, or several, until so many attempts have ended in all; the callbacks then."""

        async def ended() -> bool:
            async with self.database.reading() as tx:
                command = self.command("list_callbacks", {"limit": 500})
                found = (await list_callbacks(tx, command))["callbacks"]
            return sum(each.ms is not None for callback in found for each in callback.attempts) >= attempts

        async def run() -> None:
            running = [
                asyncio.create_task(
                    Sender(
                        self.database,
                        Signer(secret),
                        Allowed.of(allow),
                        resolve=resolver,
                        tls=tls or tls_context(),
                        owed=asyncio.Event(),
                        **options,
                    ).run()
                )
                for _ in range(senders)
            ]
            try:
                await eventually_async(ended, patience, because=f"{attempts} attempts")
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

        self.run(run())
        return self.rows()

    def hurry(self) -> None:
        """Let what waits for its next attempt, or is leased, be due now."""
        self.sql("update callbacks set next_attempt = now() where status = 'pending'")


@pytest.fixture(scope="module")
def module_desk(module_database_url: str) -> Iterator[Desk]:
    desk = Desk(module_database_url)
    yield desk
    desk.close()


@pytest.fixture
def desk(module_desk: Desk) -> Desk:
    """The module's desk, with nothing on it."""
    module_desk.sql("delete from callbacks")
    return module_desk


@pytest.fixture
def make_receiver() -> Iterator[Callable[..., Receiver]]:
    """Makes receivers that end with the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(Receiver(*args, **options).running())


@pytest.fixture
def receiver(make_receiver: Callable[..., Receiver]) -> Receiver:
    return make_receiver()
