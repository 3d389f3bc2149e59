"""Three gateways with 200 clients that come and go, while a gateway, the session worker and the broker are killed."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shared.bus.publisher import Publisher
from shared.bus.topology import EVENTS
from shared.errors import BusError
from shared.messages import new_id, now
from tests.conftest import require_rabbitmq
from tests.faults.listeners import Listener, StreamListener
from tests.integration.bus.broker import Broker
from tests.integration.ws_gateway.processes import GatewayProcess, Process, connected, session_worker, token
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.anyio

LISTENERS, SESSIONS, TAGS = 200, 20, 7
EVENTS_AT_ONCE = 150
CRITICAL_EVERY = 40


@dataclass(frozen=True)
class Numbered:
    """An event, of which the clients know the number."""

    number: int

    @property
    def session(self) -> int:
        return self.number % SESSIONS

    @property
    def tag(self) -> int:
        return self.number % TAGS

    @property
    def is_critical(self) -> bool:
        return self.number % CRITICAL_EVERY == 0

    @property
    def topic(self) -> str:
        return f"session.s{self.session}.insight"

    def body(self) -> bytes:
        event = {
            "type": "llm_conversation_insight", "message_id": f"event-{self.number}", "timestamp": now(),
            "sender_agent_id": "tests", "session_id": f"s{self.session}", "hops": 0, "trust": "trusted",
            "priority": "critical" if self.is_critical else "normal", "tags": [f"Tag-{self.tag}"],
            "insight": {"number": self.number, "text": "x" * 100},
        }  # fmt: skip
        return json.dumps(event).encode()


def participates(listener: int, session: int) -> bool:
    """Whether a client's agent takes part in a session: each in two of them."""
    return listener % SESSIONS == session or listener * 7 % SESSIONS == session


def wants(listener: int) -> tuple[dict[str, Any], Callable[[Numbered], bool]]:
    """What a client subscribes to, and which events that matches."""
    one, other = listener % SESSIONS, (listener // SESSIONS) % SESSIONS
    match listener % 4:
        case 0 if listener % 40 == 0:
            return {"topics": ["#"], "mode": "everything"}, lambda event: True
        case 0 | 1:
            topics = [f"session.s{one}.#", f"*.s{other}.insight"]
            return {"topics": topics, "mode": "everything"}, lambda event: event.session in (one, other)
        case 2:
            tag = listener % TAGS
            narrow = {"tags": [f"tag-{tag}"], "topics": [f"session.s{one}.#"]}
            return (
                {"topics": ["session.#"], "mode": "focused", "filters": narrow},
                lambda event: event.tag == tag or event.session == one,
            )
        case _:
            return (
                {"topics": ["session.*.insight"], "mode": "relevant", "peripheral_awareness": listener % 8 == 3},
                lambda event: event.is_critical or participates(listener, event.session),
            )


def listens_by(listener: int) -> type[Listener]:
    """By what a client listens: some of each mode by event streams, the others by WebSocket."""
    return StreamListener if listener % 20 in (13, 14, 15) else Listener


class Site:
    """Broker, session worker and three gateways, on a database of the run's server."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.broker = Broker(folder / "rabbitmq")
        self.broker.launch()
        self.worker = session_worker(self.broker.url, database_url)
        self.gateways = [GatewayProcess(self.broker.url) for _ in range(3)]

    def start(self) -> None:
        """Return when all are ready."""
        for process in (self.worker, *self.gateways):
            Process.start(process)
        self.broker.wait()
        for gateway in self.gateways:
            eventually(lambda at=gateway: at.get("/health/ready")[0] == 200, 60, because="a gateway being ready")  # type: ignore[misc]

    @staticmethod
    async def crash(process: Process) -> None:
        """kill -9, and start it again."""
        process.signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        Process.start(process)

    async def crash_broker(self) -> None:
        """kill -9, and start it again."""
        await self.broker.crash()
        await self.broker.start_again()

    def stop(self) -> None:
        for process in (*self.gateways, self.worker):
            with suppress(AssertionError):
                process.signal(signal.SIGTERM)
        for process in (*self.gateways, self.worker):
            process.stop()
        self.broker.kill()


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Site]:
    """All of it, ready."""
    require_rabbitmq()
    made = Site(tmp_path, database_url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
async def listeners(site: Site) -> AsyncIterator[list[Listener]]:
    """The clients, listening; their agents take part in sessions."""
    async with connected(site.gateways[0], token("opener")) as opener:
        for session in range(SESSIONS):
            participants = [f"listener-{n}" for n in range(LISTENERS) if participates(n, session)]
            data = {"session_id": f"s{session}", "participants": participants}
            await opener.send("command", command="create_session", data=data, message_id=new_id())
            assert (await opener.receive())["type"] == "response"
    urls = [gateway.url for gateway in site.gateways]
    made = [
        listens_by(number)(urls, token(f"listener-{number}"), wants(number)[0], f"seed {number}")
        for number in range(LISTENERS)
    ]
    running = [asyncio.ensure_future(listener.run()) for listener in made]
    yield made
    for task in running:
        task.cancel()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert {type(end) for end in ended} == {asyncio.CancelledError}, ended


async def publish(publisher: Publisher, first: int, count: int) -> None:
    """One after another, each until it is confirmed: what broke off may be there twice."""
    for number in range(first, first + count):
        event = Numbered(number)
        while True:
            with suppress(BusError, TimeoutError):
                async with asyncio.timeout(5):
                    await publisher.send(EVENTS, event.topic, event.body(), message_id=new_id())
                break
            await asyncio.sleep(0.05)


async def break_and_publish(site: Site, publisher: Publisher) -> int:
    """Break one thing after the other while events are published; returns how many those were."""
    random = Random("which gateway")
    published = 0
    faults: list[Callable[[], Awaitable[Any]]] = [
        lambda: site.crash(site.gateways[0]),
        site.crash_broker,
        lambda: asyncio.gather(site.crash(site.worker), site.crash(random.choice(site.gateways))),
    ]
    for fault in faults:
        happening = asyncio.ensure_future(fault())
        for _ in range(2):
            await publish(publisher, published, EVENTS_AT_ONCE)
            published += EVENTS_AT_ONCE
            # Some while it is broken, some after.
            await happening
    return published


@pytest.mark.timeout(240)  # half a minute where nothing else runs
async def test_clients_that_come_and_go_miss_nothing_while_gateway_worker_and_broker_are_killed(
    site: Site, listeners: list[Listener]
) -> None:
    async with asyncio.timeout(60):
        for listener in listeners:
            await listener.began.wait()
            listener.roam()
    publisher = Publisher(site.broker.url, name="tests")
    running = asyncio.ensure_future(publisher.run())
    try:
        published = await break_and_publish(site, publisher)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    for number, listener in enumerate(listeners):
        matches = wants(number)[1]
        listener.expected = [n for n in range(published) if matches(Numbered(n))]
        listener.stays = True

    async def all_have_all() -> bool:
        return all(listener.has_all for listener in listeners)

    await eventually_async(all_have_all, 60, interval=0.1, because="every client having its events")
    await asyncio.gather(*(listener.settled() for listener in listeners))

    assert [fault for listener in listeners for fault in listener.faults] == []
    cursors: dict[int, int] = {}
    for listener in listeners:
        assert [number for _, number in sorted(listener.heard.items())] == listener.expected
        for cursor, number in listener.heard.items():
            assert cursors.setdefault(number, cursor) == cursor, "an event has one cursor at every gateway"
    assert sorted(cursors) == list(range(published))
    # It was as intended: all came back, and by both ways.
    assert min(listener.connections for listener in listeners) >= 2
    assert sum(listener.resumed for listener in listeners) > LISTENERS / 10
