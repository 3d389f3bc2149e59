"""The gateway as a whole: its clients, the places they take, their heartbeat, and how it ends."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from services.ws_gateway.agents.presence import Presence
from services.ws_gateway.client import Client, Link
from services.ws_gateway.commands import Commands
from services.ws_gateway.door.access import BAD_TOKEN, TOO_MANY, Identity, Limits, Places, Refused
from services.ws_gateway.door.addresses import counted_as
from services.ws_gateway.door.doors import Doors
from services.ws_gateway.door.entrance import HEARTBEAT_SECONDS
from services.ws_gateway.fanout.digests import Digests
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.history.resume import Library
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.pace.pacing import Pacing
from services.ws_gateway.requests import Ack
from services.ws_gateway.stream.intake import Intake
from services.ws_gateway.wire.wires import Wires
from shared.auth import Caller
from shared.key_ring import KeyRing
from shared.logs import get_logger

RESTART = 1012
BEAT_SECONDS = 1.0
RESUMED_ELSEWHERE = "resumed elsewhere"
REVOKED = "the key that asked for this token was revoked"

log = get_logger()


class Gateway:
    """What the clients share."""

    def __init__(
        self,
        *,
        secret: str,
        origins: frozenset[str],
        limits: Limits,
        hub: Hub,
        intake: Intake,
        library: Library,
        commands: Commands,
        ring: KeyRing,
        metrics: Metrics,
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        doors: Doors | None = None,
        pacing: Pacing | None = None,
        presence: Presence | None = None,
    ) -> None:
        self.secret = secret
        self.origins = origins
        self.places = Places(limits)
        self.hub = hub
        self.library = library
        self.commands = commands
        self.doors = doors = doors or Doors(secret)
        self.floods = doors.floods
        self.proxies = doors.proxies
        self.audit = doors.audit
        self.resumption = doors.resumption
        doors.read(metrics.readings)
        self.presence = presence or Presence("gateway", grace_s=10.0)
        self._keys = ring
        self.metrics = metrics
        self.call_later = call_later
        self.wires = Wires()
        self._intake = intake
        # Clients by when they are pinged, so that not all are at the same time.
        self._beats: list[dict[Client, None]] = [{} for _ in range(HEARTBEAT_SECONDS)]
        self._turn = 0
        # Told of each client that has shown who it is, of each such client that is gone, and once a second.
        self.on_seated: list[Callable[[Client], None]] = []
        self.on_released: list[Callable[[Client], None]] = []
        self.on_beat: list[Callable[[], None]] = []
        # Told of each `ack`, and of each pong that answers a ping of ours (`client.pulse`).
        self.on_ack: list[Callable[[Client, Ack], None]] = []
        self.on_pong: list[Callable[[Client], None]] = []
        self.pacing = pacing or Pacing(hub)
        self.on_beat += [self.pacing.beat, Digests(hub).beat, library.contexts.refresh]
        self.pacing.attend(metrics.readings)
        self.on_pong.append(self.pacing.ponged)
        self.on_released.append(self.pacing.forget)
        # Told of each client that goes on with a connection that is not here, and of that one's id.
        self.on_took_over: list[Callable[[Client, str], None]] = []
        self._seated: dict[str, Client] = {}
        self._agents: dict[str, dict[Client, None]] = {}
        # Why no more connections are taken; empty: they are.
        self.ending = ""
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def epoch(self) -> str:
        """The event log's epoch."""
        return self._intake.epoch.name

    @property
    def base(self) -> int:
        """The first cursor of the epoch."""
        return self._intake.epoch.base

    @property
    def clients(self) -> list[Client]:
        """Everyone who is connected."""
        return [client for beat in self._beats for client in beat]

    def connect(self, link: Link) -> Client:
        """A socket that has done its handshake. Raises `Refused` when there are too many, or the gateway ends."""
        self.check_open()
        self.places.enter(counted_as(link.address))
        self._empty.clear()
        client = Client(self, link)
        min(self._beats, key=len)[client] = None
        return client

    def check_open(self) -> None:
        """Raise `Refused` with 1012 when the gateway shuts down."""
        if self.ending:
            raise Refused(RESTART, self.ending)

    def check_token(self, identity: Identity) -> None:
        """Raise `Refused` with 4401 when this token, or the key that asked for it, was revoked."""
        if self._keys.is_revoked(identity.caller.name):
            raise Refused(BAD_TOKEN, REVOKED)
        if self._keys.is_token_revoked(identity.token_id, identity.agent_id, identity.issued):
            raise Refused(BAD_TOKEN, "this token was revoked; ask for a new one")

    def caller(self, key: str) -> Caller:
        """Whose API key this is, the request counted. Raises `Refused` for a wrong one, `Rejected` for too many."""
        caller = self._keys.find(key)
        if caller is None:
            raise Refused(BAD_TOKEN, "the key is wrong")
        caller.count()
        return caller

    def close_revoked(self) -> None:
        """Other keys and tokens are in force: close the connections of those that are not any more."""
        for client in self.clients:
            if client.identity is not None and not client.closing:
                try:
                    self.check_token(client.identity)
                except Refused as refused:
                    client.refuse(refused, client.identity)

    def find(self, connection_id: str) -> Client | None:
        """The client with this connection, if it is here."""
        return self._seated.get(connection_id)

    def of_agent(self, agent_id: str) -> list[Client]:
        """An agent's connections to this gateway."""
        return list(self._agents.get(agent_id, ()))

    def take_over(self, client: Client, connection_id: str) -> None:
        """A client goes on with another connection, which is closed; its seat is free at once."""
        old = self._seated.get(connection_id)
        if old is None:
            for tell in self.on_took_over:
                tell(client, connection_id)
        else:
            self.vacate(old)

    def vacate(self, client: Client) -> None:
        """Close a connection whose agent goes on with another one; its seat is free at once."""
        if client.identity is not None and not client.vacated:
            client.vacated = True
            self.places.vacate(client.identity)
            client.close(TOO_MANY, RESUMED_ELSEWHERE)

    def seat(self, client: Client, identity: Identity) -> None:
        """A client has shown who it is. Raises `Refused` when that agent has its connections already."""
        self.check_open()
        self.places.seat(counted_as(client.address), identity)
        client.identity = identity
        self.hub.seat(client.connection, identity.agent_id, is_admin=identity.is_admin)
        self._seated[client.id] = client
        self._agents.setdefault(identity.agent_id, {})[client] = None
        self.metrics.connections.labels(identity.permission).inc()

    def release(self, client: Client, code: int) -> None:
        """A client is gone."""
        self.places.leave(counted_as(client.address), client.identity, vacated=client.vacated)
        self._seated.pop(client.id, None)
        if not self.places.total:
            self._empty.set()
        if client.identity:
            of_agent = self._agents.get(client.identity.agent_id, {})
            if of_agent.pop(client, True) is None and not of_agent:
                del self._agents[client.identity.agent_id]
            self.metrics.connections.labels(client.identity.permission).dec()
            for tell in self.on_released:
                tell(client)
        self.metrics.closes.labels(str(code)).inc()
        for beat in self._beats:
            beat.pop(client, None)

    async def run(self) -> None:
        """Beat once a second, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # Beats that were missed while the process stood still are not made up for: the pings of all of them
            # would go out together, and count as unanswered before an answer could come.
            due = max(due + BEAT_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())
            self.beat()

    def beat(self) -> None:
        """Ping those whose turn it is; to be called once a second."""
        self._turn = (self._turn + 1) % len(self._beats)
        for act in (*(client.beat for client in self._beats[self._turn]), *self.on_beat):
            try:
                act()
            except Exception:  # (one that fails must not stop the others, nor the gateway)
                log.exception("beat_failed")

    def tell(self, frame: bytes) -> None:
        """Write a frame of the gateway's own to everyone who has shown who it is."""
        for client in self.clients:
            if client.identity is not None:
                client.send(frame)

    async def shut_down(self, code: int, reason: str, patience: float) -> None:
        """Write what waits, close every connection, and wait until they are closed, `patience` seconds at most."""
        for client in self.clients:
            if not client.closing:
                self.hub.flush(client.connection)
                client.close(code, reason)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._empty.wait()

    def state(self) -> dict[str, Any]:
        """The gateway in a few numbers."""
        return {"connections": self.places.total, "cursor": self.hub.cursor, "slow": self.hub.slow, "epoch": self.epoch}
