"""The status display: this gateway, its replicas, the agents, the connections with the least healthy first, and what is
wrong, in words. Computed when somebody asks, at most once in `every` seconds.
"""

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Protocol

import psutil

from services.ws_gateway.client import Client
from services.ws_gateway.door.access import Identity
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.operation.viewers import Asked, Viewer, position, read_asked
from services.ws_gateway.stream.frames import message
from shared.errors import BusError, Rejected
from shared.logs import get_logger
from shared.messages import JsonText, encode, rfc3339

REFRESH_SECONDS = 5.0
MOST_AGENTS, MOST_PROBLEMS = 1_000, 100
# Of JSON: clients as they come take messages of 1 MiB, and agents may have much to say of themselves.
AGENTS_BYTES = 300_000
# Connections looked at before others get their turn.
LOOKED_AT_ONCE = 200
# Who names this topic is sent the display; a pattern that merely matches it does not bring it.
TOPIC = "system.gateway"
# How long the figures of the sidebars are waited for.
SIDEBARS_SECONDS = 2.0
# Below this health a connection is among the problems.
UNWELL = 60

log = get_logger()


class Agents(Protocol):
    """`Presence.agents`."""

    def __call__(
        self, health: Callable[[str], int | None], *, only: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Those who are connected, or one of them."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the display has from what the gateway's core does not know.

    `health` of a client is 0 to 100; `troubles` says what is wrong with one; `about` is all else that is known of it;
    `gateways` and `agents` are those of all replicas; `sidebars` asks for the figures of all sidebars, as JSON.
    """

    health: Callable[[Client], int]
    troubles: Callable[[Client], list[str]]
    about: Callable[[Client], dict[str, Any]]
    gateways: Callable[[], list[dict[str, Any]]]
    agents: Agents
    sidebars: Callable[[], Awaitable[bytes]]


@dataclass(slots=True)
class _Look:
    """The connections as they were at a moment, in seconds of the monotonic clock."""

    at: float
    gateway: dict[str, Any]
    # Health, connection id and client, the least healthy first.
    rows: list[tuple[int, str, Client]]
    # Of each agent the health of its best connection here.
    healths: dict[str, int]
    agents: list[dict[str, Any]] | None = None
    sidebars: JsonText | None = None
    views: dict[Viewer, bytes] = field(default_factory=dict)


class Status:
    """Looks at the gateway for those who ask, and sends those who subscribed to `system.gateway` what it sees."""

    def __init__(
        self,
        gateway: Gateway,
        gateway_id: str,
        sources: Sources,
        *,
        events_in: Callable[[], float],
        every: float = REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._id = gateway_id
        self._sources = sources
        self._events_in = events_in
        self._every = every
        self._clock = clock
        self._started = datetime.now(UTC)
        self._started_at = self._due = clock()
        self._process = psutil.Process()
        self._cpu = (self._started_at, time.process_time(), 0.0)
        self._last: _Look | None = None
        self._looking: asyncio.Task[_Look] | None = None
        self._pushing: asyncio.Task[None] | None = None
        # Who has been sent the display when it was due last, or asked for it since.
        self._shown: set[str] = set()

    async def answer(self, identity: Identity, data: dict[str, Any]) -> dict[str, Any]:
        """What a client's `get_state` without a session is answered. Raises `Rejected`."""
        identity.caller.require("read")
        return await self.ask(Viewer.of_identity(identity), read_asked(data))

    async def ask(self, viewer: Viewer, asked: Asked) -> dict[str, Any]:
        """The display as this viewer may see it, with the sidebars' figures for admins. Raises `Rejected`."""
        look = await self._fresh()
        if viewer.is_admin:
            await self._ask_sidebars(look)
        return self._view(look, viewer, asked)

    def _view(self, look: _Look, viewer: Viewer, asked: Asked) -> dict[str, Any]:
        rows = [row for row in self._rows(look, viewer) if not row[2].closing]
        after = position(asked.cursor)
        page = [row for row in rows if row[:2] > after][: asked.limit + 1]
        more, page = len(page) > asked.limit, page[: asked.limit]
        return {
            "gateway": look.gateway,
            "gateways": self._sources.gateways() or [self.summary()],
            "agents": self._agents(look, viewer),
            "connections": [self._connection(health, client, viewer) for health, _, client in page],
            "next": f"{page[-1][0]}.{page[-1][1]}" if more else None,
            "sidebars": look.sidebars if viewer.is_admin else None,
            "problems": [self._problem(row[0], row[2]) for row in rows[:MOST_PROBLEMS] if row[0] < UNWELL],
        }  # fmt: skip

    def _rows(self, look: _Look, viewer: Viewer) -> list[tuple[int, str, Client]]:
        if viewer.is_admin:
            return look.rows
        if viewer.agent_id is None:
            return [row for row in look.rows if row[2].identity and viewer.owns(row[2].identity)]
        # They are few, and who has just come in sees that.
        own = self._gateway.of_agent(viewer.agent_id)
        return sorted((self._sources.health(client), client.id, client) for client in own)

    def _agents(self, look: _Look, viewer: Viewer) -> list[dict[str, Any]]:
        if not viewer.is_admin:
            return [] if viewer.agent_id is None else self._sources.agents(look.healths.get, only=viewer.agent_id)
        if look.agents is None:
            look.agents = _within(AGENTS_BYTES, self._sources.agents(look.healths.get, limit=MOST_AGENTS))
        return look.agents

    def summary(self) -> dict[str, Any]:
        """This gateway in a few numbers, as its replicas show it; costs nothing."""
        return {
            "gateway_id": self._id,
            "started": rfc3339(self._started),
            "cursor": self._gateway.hub.cursor,
            "connections_total": self._gateway.places.total,
            "slow": self._gateway.hub.slow,
            "memory_bytes": self._process.memory_info().rss,
            "cpu": self._cpu_share(self._clock()),
        }

    def beat(self) -> None:
        """Send the display to those who wait for it; to be called once a second.

        Who has just asked for it is sent it at once, and from then on when it is due for everybody.
        """
        now = self._clock()
        if self._last is not None and now - self._last.at > 2 * self._every:
            self._last = None  # nobody looks, and it holds on to clients that are gone
        listeners = self._listeners()
        is_due = now >= self._due
        fresh = listeners if is_due else [client for client in listeners if client.id not in self._shown]
        if (self._pushing and not self._pushing.done()) or not (fresh or is_due):
            return
        if is_due:
            self._due = now + self._every
        self._shown = {client.id for client in listeners}
        if fresh:
            self._pushing = asyncio.get_running_loop().create_task(self._push(fresh))

    def _listeners(self) -> list[Client]:
        connections = set(self._gateway.hub.directory.named(TOPIC))
        return [client for client in self._gateway.clients if client.connection in connections] if connections else []

    async def _push(self, listeners: list[Client]) -> None:
        viewers = [(client, Viewer.of_identity(client.identity)) for client in listeners if client.identity]
        look = await self._fresh()
        if any(viewer.is_admin for _, viewer in viewers):
            await self._ask_sidebars(look)
        for client, viewer in viewers:
            # All admins see the same.
            key = Viewer(None, "", True) if viewer.is_admin else viewer
            if key not in look.views:
                await asyncio.sleep(0)
                look.views[key] = message("gateway_state", timestamp=_now(), **self._view(look, viewer, Asked()))
            # Who reads slowly sees the next one.
            if not client.connection.paused:
                client.send(look.views[key])

    async def _ask_sidebars(self, look: _Look) -> None:
        if look.sidebars is not None:
            return
        try:
            async with asyncio.timeout(SIDEBARS_SECONDS):
                look.sidebars = JsonText(await self._sources.sidebars())
        except (Rejected, BusError, TimeoutError) as fault:
            log.info("sidebar_stats_unknown", reason=str(fault) or "no answer")

    async def _fresh(self) -> _Look:
        """A look that is young enough; several who want a new one share it."""
        now = self._clock()
        if self._last is not None and now - self._last.at < self._every:
            return self._last
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look(now))
        return await asyncio.shield(self._looking)

    async def _look(self, now: float) -> _Look:
        kinds: Counter[str] = Counter()
        permissions: Counter[str] = Counter()
        rows = []
        healths: dict[str, int] = {}
        clients = self._gateway.clients
        health = self._sources.health
        for number, client in enumerate(clients):
            if number % LOOKED_AT_ONCE == LOOKED_AT_ONCE - 1:
                await asyncio.sleep(0)
            if (identity := client.identity) is not None and not client.closing:
                kinds[identity.kind] += 1
                permissions[identity.permission] += 1
                score = health(client)
                rows.append((score, client.id, client))
                healths[identity.agent_id] = max(score, healths.get(identity.agent_id, 0))
        rows.sort(key=lambda row: row[:2])
        hub = self._gateway.hub
        gateway = {
            "gateway_id": self._id,
            "started": rfc3339(self._started),
            "uptime_s": round(now - self._started_at, 1),
            "epoch": self._gateway.epoch,
            "cursor": hub.cursor,
            "connections_total": len(rows),
            "by_kind": {"human": kinds["human"], "agent": kinds["agent"]},
            "by_permission": {"observer": permissions["observer"], "active": permissions["active"]},
            "slow": hub.slow,
            "ring": {"events": len(hub.ring), "bytes": hub.ring.bytes},
            "frames_out": hub.frames_out,
            "dropped": hub.dropped,
            "gaps": hub.gaps,
            "events_in": int(self._events_in()),
            "memory_bytes": self._process.memory_info().rss,
            "cpu": self._cpu_share(now),
        }
        self._last = _Look(now, gateway, rows, healths)
        return self._last

    def _cpu_share(self, now: float) -> float:
        """How much of one core the process has used since the last look."""
        at, used, share = self._cpu
        if now - at >= 0.5:
            used_now = time.process_time()
            share = round((used_now - used) / (now - at), 3)
            self._cpu = (now, used_now, share)
        return share

    def _connection(self, health: int, client: Client, viewer: Viewer) -> dict[str, Any]:
        described = {**self._sources.about(client), "health": health}
        return {**described, "address": client.address} if viewer.is_admin else described

    def _problem(self, health: int, client: Client) -> str:
        assert client.identity is not None
        why = "; ".join(self._sources.troubles(client)) or "it was worse a moment ago"
        return f"{client.identity.agent_id} ({client.identity.permission}, {client.id}): health {health} of 100: {why}"


def _within(size: int, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many as take no more than these bytes."""
    total = accumulate(len(encode(each)) for each in found)
    return found[: bisect_right(list(total), size)]


def _now() -> str:
    return rfc3339(datetime.now(UTC))
