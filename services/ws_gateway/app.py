"""The composition of the gateway: its parts, the order they start in, and how it ends."""

import asyncio
import contextlib
import gc
import json
import resource
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from services.ws_gateway.agents.gossip import Gossip
from services.ws_gateway.agents.presence import Presence
from services.ws_gateway.client import GOING_AWAY
from services.ws_gateway.commands import Commands
from services.ws_gateway.delivery.curator import Curator, posting_of
from services.ws_gateway.delivery.mentions import Mentions
from services.ws_gateway.door.doors import Doors
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.gateway import RESTART, Gateway
from services.ws_gateway.history.pages import Pages
from services.ws_gateway.history.resume import Library
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.operation import vitals
from services.ws_gateway.operation.measures import Measures
from services.ws_gateway.operation.shutdown import EVENTS as SHUTDOWN_EVENTS
from services.ws_gateway.operation.shutdown import Order, Shutdown
from services.ws_gateway.operation.state_page import StatePage
from services.ws_gateway.operation.status import Sources, Status
from services.ws_gateway.outbound import Outbound
from services.ws_gateway.pace.pacing import Pacing
from services.ws_gateway.settings import GatewaySettings
from services.ws_gateway.stream.follower import Follower
from services.ws_gateway.stream.intake import Intake
from services.ws_gateway.stream.ring import Ring
from services.ws_gateway.wire.server import HttpAnswer, Server
from shared import logs, telemetry
from shared.bus.key_watch import KeyWatch
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.bus.tail import StreamEvent, last_offset, read_range
from shared.errors import Unavailable
from shared.key_ring import KeyRing
from shared.messages.json_text import slices

NAME = "ws_gateway"
QUERY_SECONDS, NEWEST_SECONDS = 5.0, 10.0
# A stop gives commands under way and then the closing handshakes this long.
COMMAND_GRACE_SECONDS, CLOSE_GRACE_SECONDS = 3.0, 5.0
# What is to be told of it, while the broker is there, this long.
FAREWELL_SECONDS = 2.0
# What whoever connects meanwhile is told.
ENDING = "the gateway shuts down; connect to another, or again in a moment"

log = logs.get_logger()


class App:
    """All parts of a gateway, put together but not started."""

    def __init__(self, settings: GatewaySettings, registry: CollectorRegistry = REGISTRY) -> None:
        self._settings = settings
        self._registry = registry
        self._url = settings.amqp_url.get_secret_value()
        self.hub = Hub(Ring(settings.ring_events, settings.ring_bytes))
        metrics = Metrics(self.hub, registry)
        self.intake = Intake(self.hub, metrics)
        self._publisher = Publisher(self._url, name=NAME)
        self._rpc = Rpc(self._publisher)
        self.follower = Follower(
            self._url, name=NAME, intake=self.intake, ask=self._query, prefill=settings.ring_events
        )
        self.ring = KeyRing(settings.api_key.get_secret_value() or None, default_rate=settings.rate_per_minute)
        secret = settings.secret.get_secret_value()
        self.commands = Commands(self._rpc, metrics, self.ring, secret)
        outbound = Outbound(self._publisher, self._rpc)
        self.doors = Doors(
            secret, floods=settings.floods, proxies=settings.proxies, publish=outbound.event,
            command=outbound.command, use_resume_token=outbound.use_resume_token, sender=NAME,
        )  # fmt: skip
        # Which of the replicas this is: readable, and another one after each start.
        self.gateway_id = f"{socket.gethostname()}-{secrets.token_hex(3)}"
        self.gateway = Gateway(
            secret=secret,
            origins=frozenset(origin.lower() for origin in settings.origins),
            limits=settings.limits,
            hub=self.hub,
            intake=self.intake,
            library=Library(self.hub, self._pages(), metrics),
            commands=self.commands,
            ring=self.ring,
            metrics=metrics,
            call_later=lambda seconds, act: asyncio.get_running_loop().call_later(seconds, act),
            doors=self.doors,
            pacing=Pacing(self.hub, delays=settings.delays),
            presence=Presence(self.gateway_id, grace_s=settings.presence_grace_s, sender=NAME),
        )
        self.gossip = Gossip(
            self._url, name=NAME, gateway=self.gateway, intake=self.intake, publisher=self._publisher,
            query=self._query, told_is_known=lambda: self.follower.ready and self.follower.connected,
        )  # fmt: skip
        self.mentions = Mentions(self.gateway, self.intake, self._query, outbound.command)
        self._unacknowledged = posting_of(outbound.event)
        self.curator = Curator(self.gateway, self._unacknowledged.add, sender=NAME, ack_s=settings.ack_s)
        self.shutdown = Shutdown(
            self.gateway_id,
            call_later=lambda seconds, act: asyncio.get_running_loop().call_later(seconds, act),
            tell=self.gateway.tell,
            on_order=self._on_order,
            end=lambda order: self._stop(RESTART, order.hint),
            started_at=lambda: self.follower.started_at,
        )
        for kind in SHUTDOWN_EVENTS:
            self.intake.watch(kind, self.shutdown.look)
        self.status = Status(
            self.gateway,
            self.gateway_id,
            Sources(
                health=vitals.health, troubles=vitals.troubles, about=vitals.about,
                gateways=self.gateway.presence.gateways, agents=self.gateway.presence.agents,
                sidebars=self._sidebar_figures,
            ),
            events_in=lambda: self.intake.taken,
        )  # fmt: skip
        Measures(registry, is_live=lambda: self.follower.ready).attend(self.gateway, self.intake)
        self.gateway.presence.replicas.about = self.status.summary
        self.commands.gateway_state = self.status.answer
        self.gateway.on_beat.append(self.status.beat)
        self._stopped = asyncio.Event()
        self._farewell = (RESTART, "")
        self._keys = KeyWatch(
            self._url, name=NAME, publisher=self._publisher, rpc=self._rpc, ring=self.ring,
            on_changed=self.gateway.close_revoked,
        )  # fmt: skip
        # Without the keys a token of one that was revoked would be let in.
        self.server = Server(self.gateway, self._page, lambda: self.follower.ready and self.ring.loaded)
        self.server.state_page = StatePage(self.gateway, self.status).answer

    def _pages(self) -> Pages:
        wait = self.follower.wait_connected
        return Pages(self.hub, self.intake, self._read_stream, self._query, self._read_newest, wait_followed=wait)

    def _read_stream(self, after: int, until: int) -> AsyncIterator[list[StreamEvent]]:
        return read_range(self._url, name=NAME, after=after, until=until)

    async def _read_newest(self) -> int:
        if not self.follower.connected:
            raise Unavailable("the event stream is away")
        async with asyncio.timeout(NEWEST_SECONDS):
            return await last_offset(self._url, name=NAME)

    async def _query(self, name: str, data: dict[str, Any]) -> bytes:
        """The text of a query's result. Raises `Rejected`, `Unavailable` or TimeoutError."""
        return (await self._rpc.query(name, data, sender=NAME, wait=QUERY_SECONDS)).text

    async def _sidebar_figures(self) -> bytes:
        # Of all sidebars: the display shows them to admins alone.
        asked = await self._rpc.query("sidebar_stats", {}, sender=NAME, wait=QUERY_SECONDS, by_admin=True)
        return slices(asked.text)["stats"]

    def _page(self, path: str) -> HttpAnswer | None:
        if path == "/health/live":
            return _json(200, {"status": "live"})
        if path == "/health/ready":
            faults = self._faults()
            return _json(503, {"status": "not ready", "failing": faults}) if faults else _json(200, {"status": "ready"})
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        return None

    def _faults(self) -> dict[str, str]:
        faults = {}
        if not (self._publisher.connected and self.follower.connected):
            faults["broker"] = "not connected"
        if not self.follower.ready:
            faults["event_log"] = self.follower.waits_for
        if not self.ring.loaded:
            faults["keys"] = "the session worker"
        if self.gateway.ending:
            faults["gateway"] = self.gateway.ending
        return faults

    async def run(self) -> None:
        """Serve until SIGTERM or an order (clients are told of a restart), or SIGINT (of a shutdown)."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, RESTART, "restart; resume from cursor")
        loop.add_signal_handler(signal.SIGINT, self._stop, GOING_AWAY, "shutdown; resume from cursor")
        port = await self.server.start(self._settings.host, self._settings.gateway_port)
        log.info("started", port=port)
        works: list[Awaitable[None]] = [
            self._publisher.run(), self.follower.run(), self._keys.run(), self.gateway.run(), self.gossip.run(),
            *(work() for work in (*self.doors.works(), self.mentions.posting.run, self._unacknowledged.run)),
        ]  # fmt: skip
        tasks = [asyncio.ensure_future(work) for work in works]
        settling = asyncio.ensure_future(self._settle())
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self.server.stop_listening()
        if stopped.done():
            await self._close()
        failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in (*tasks, settling, stopped):
            task.cancel()
        await asyncio.gather(*tasks, settling, stopped, return_exceptions=True)
        log.info("stopped")
        for fault in failed:
            if fault is not None:
                raise fault

    def _on_order(self, order: Order) -> None:
        self.gateway.ending = ENDING

    def _stop(self, code: int, reason: str) -> None:
        """End `run`, which closes every connection with this; the first call counts."""
        if not self._stopped.is_set():
            self._farewell = code, reason
            self.gateway.ending = ENDING
            self.shutdown.stop()
            self._stopped.set()

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMAND_GRACE_SECONDS):
                await self.commands.finished()
        await self.gateway.shut_down(*self._farewell, CLOSE_GRACE_SECONDS)
        order = self.shutdown.order
        outcome = f"{order.mode}, ordered by {order.ordered_by}" if order else self._farewell[1].partition(";")[0]
        self.doors.audit.note("shutdown", None, self.gateway_id, outcome)
        postings = (self.mentions.posting, self._unacknowledged)
        await asyncio.gather(*(part.finish(FAREWELL_SECONDS) for part in (self.doors, *postings)))

    async def _settle(self) -> None:
        """Once all is built, keep the garbage collector from it: a full collection would stall every socket."""
        await self.follower.wait_ready()
        tune_collector()
        log.info("ready", **self.gateway.state())


def tune_collector() -> None:
    """Keep what lives now out of garbage collection, and collect seldom: events and frames hold no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def raise_file_limit() -> None:
    """Allow as many open sockets as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _json(status: int, body: dict[str, Any]) -> HttpAnswer:
    return status, "application/json", json.dumps(body).encode()


async def run(settings: GatewaySettings) -> None:
    """Run a gateway until it is told to stop."""
    logs.configure(NAME, form=settings.log_format, level=settings.log_level)
    telemetry.export_traces(NAME, settings.otlp_endpoint)
    raise_file_limit()
    await App(settings).run()
