"""Carries presence between the gateways: a fanout exchange, a queue of one's own, and a clock.

What is lost is asked for again, so nothing of it is durable or waited for. One connection takes and gives: whoever can
say nothing hears nothing either, and does not take the others for dead.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from pamqp import commands as amqp

from services.ws_gateway.agents.participation import EVENTS as SIDEBAR_EVENTS
from services.ws_gateway.agents.participation import Participation
from services.ws_gateway.agents.readiness import TASK_BEGINS, TASK_ENDS
from services.ws_gateway.agents.seating import Closing
from services.ws_gateway.client import Client
from services.ws_gateway.door.access import TOO_MANY, Refused
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.metrics import Readings
from services.ws_gateway.stream.intake import Intake
from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.bus.topology import EVENTS, GATEWAYS
from shared.errors import BusError, Rejected, Unavailable
from shared.logs import get_logger
from shared.messages import new_id
from shared.messages.live import AgentPresence

TICK_SECONDS = 0.1
# So long without a frame, an agent is idle.
IDLE_SECONDS = 300.0
SWEEP_SECONDS = 1.0

log = get_logger()


class _Page(msgspec.Struct):
    presences: list[msgspec.Raw]
    next: str | None


_PAGE = msgspec.json.Decoder(_Page)


class _Visit:
    """A client here, and when it sent a frame last."""

    __slots__ = ("active_at", "client", "received")

    def __init__(self, client: Client, now: float) -> None:
        self.client = client
        self.received = client.answers.received
        self.active_at = now


class Gossip:
    """Joins a gateway's presence to its clients, the other gateways and the event log."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        gateway: Gateway,
        intake: Intake,
        publisher: Publisher,
        query: Callable[[str, dict[str, Any]], Awaitable[bytes]],
        told_is_known: Callable[[], bool],
    ) -> None:
        """`query` asks the workers; `told_is_known` says whether the log is followed, its kept end having been seen."""
        self._url = url
        self._name = name
        self._gateway = gateway
        self._presence = presence = gateway.presence
        self._publisher = publisher
        self._told_is_known = told_is_known
        self._query = query
        self._recalled = False
        self._participation = Participation(presence, query)
        self._connection: Connection | None = None
        self._blocked = False
        self._visits: dict[str, _Visit] = {}
        self._swept_at = 0.0
        # Messages to the other gateways and their bytes, and those heard, its own included.
        self.told = 0
        self.messages_out = self.bytes_out = self.messages_in = self.bytes_in = 0
        self._read(gateway.metrics.readings)
        gateway.on_seated.append(self._on_seated)
        gateway.on_released.append(self._on_released)
        gateway.on_took_over.append(lambda client, earlier_id: presence.took_over(client.id, earlier_id))
        intake.watch("agent_presence", presence.look)
        for kind in SIDEBAR_EVENTS:
            intake.watch(kind, self._participation.look)
        for kind in (*TASK_BEGINS, *TASK_ENDS):
            intake.watch(kind, presence.tasks.look)

    def _read(self, readings: Readings) -> None:
        replicas = self._presence.replicas
        readings.level("replicas", "Gateways that are alive, this one included", lambda: len(replicas.alive))
        readings.level(
            "agents", "Who is connected to any gateway, by status", lambda: self._presence.by_status(), label="status"
        )
        readings.count("presence_told", "Presence events published, copies included", lambda: self.told)
        readings.count("gossip_out", "Messages to the other gateways", lambda: self.messages_out)
        readings.count("gossip_bytes_out", "Bytes of those messages", lambda: self.bytes_out)
        readings.count("gossip_in", "Messages of all gateways", lambda: self.messages_in)
        readings.count("gossip_bytes_in", "Bytes of those messages", lambda: self.bytes_in)

    def _on_seated(self, client: Client) -> None:
        assert client.identity is not None
        self._visits[client.id] = _Visit(client, time.monotonic())
        self._presence.seated(client.id, client.identity)
        if client.takes_over:
            self._presence.took_over(client.id, client.takes_over)
        self._participation.came(client.identity.agent_id)

    def _on_released(self, client: Client) -> None:
        if self._visits.pop(client.id, None):
            self._presence.released(client.id)

    async def run(self) -> None:
        """Gossip until cancelled; reconnects by itself, and says goodbye at the end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick_on())
            group.create_task(self._participation.run())
            group.create_task(self._listen())
            group.create_task(self._recall())

    async def _recall(self) -> None:
        """Learn what was told of agents longer ago than the log is held in memory."""
        after: str | None = None
        while not self._recalled:
            if not self._told_is_known():
                await asyncio.sleep(TICK_SECONDS)
                continue
            try:
                page = _PAGE.decode(await self._query("list_presences", {"after": after}))
            except (Rejected, msgspec.MsgspecError) as fault:
                # The latter: an answer of a worker of another version.
                log.error("presences_refused", reason=str(fault))
                self._recalled = True
            except (BusError, TimeoutError) as fault:
                log.debug("presences_unknown", reason=str(fault) or "no answer")
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                for event in page.presences:
                    self._presence.recall(bytes(event))
                after, self._recalled = page.next, page.next is None

    async def _listen(self) -> None:
        while True:
            await self._publisher.wait_connected()  # it makes the exchange
            try:
                async with await Connection.open(self._url, name=f"{self._name} gossip") as connection:
                    queue = f"{self._name}.gossip.{self._presence.gateway_id}.{new_id()}"
                    await connection.call(amqp.Queue.Declare(queue=queue, exclusive=True, auto_delete=True))
                    await connection.call(amqp.Queue.Bind(queue=queue, exchange=GATEWAYS, routing_key=""))
                    await connection.consume(queue, self._on_deliveries, no_ack=True)
                    await self._talk(connection)
            except Unavailable as error:
                log.debug("gossip_away", reason=str(error))
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _talk(self, connection: Connection) -> None:
        self._connection, self._blocked = connection, False
        self._presence.connect()
        try:
            reason = await asyncio.shield(connection.closed)
            log.warning("gossip_lost", reason=reason)
        except asyncio.CancelledError:
            self._send(connection, self._presence.goodbye())
            raise
        finally:
            self._connection = None
            self._presence.disconnect()

    def _on_deliveries(self, deliveries: list[Delivery]) -> None:
        now = time.monotonic()
        for delivery in deliveries:
            self.messages_in += 1
            self.bytes_in += len(delivery.body)
            try:
                self._presence.hear(delivery.body, now)
            except Exception:  # (what it says is asked for again)
                log.exception("gossip_failed")

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._tick(time.monotonic())
            except Exception:  # (presence may be wrong for a while; the sockets must stay)
                log.exception("presence_failed")

    def _tick(self, now: float) -> None:
        connection = self._connection
        if connection is not None and connection.blocked != self._blocked:
            # The broker takes nothing for now, from nobody: that says nothing about the others.
            self._blocked = connection.blocked
            if self._blocked:
                self._presence.disconnect()
            else:
                self._presence.connect()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._sweep(now)
        work = self._presence.tick(
            now, told_is_known=self._recalled and self._publisher.connected and self._told_is_known()
        )
        if connection is not None:
            for body in work.gossip:
                self._send(connection, body)
        for event in work.events:
            self._publish(event)
        for closing in work.closings:
            self._close(closing)

    def _sweep(self, now: float) -> None:
        """See who has sent a frame since the last look, and who none for long."""
        active: dict[str, bool] = {}
        for visit in self._visits.values():
            client = visit.client
            if client.answers.received != visit.received:
                visit.received, visit.active_at = client.answers.received, now
            if client.identity is not None:
                agent_id = client.identity.agent_id
                active[agent_id] = active.get(agent_id, False) or now - visit.active_at < IDLE_SECONDS
        for agent_id, is_active in active.items():
            self._presence.is_active(agent_id, is_active)

    def _send(self, connection: Connection, body: bytes) -> None:
        self.messages_out += 1
        self.bytes_out += len(body)
        connection.send(GATEWAYS, "", body, mandatory=False, persistent=False).add_done_callback(_forget)

    def _publish(self, event: AgentPresence) -> None:
        self.told += 1
        # The log shows what has arrived; what has not is published again.
        self._publisher.send(
            EVENTS, event.routing_key(), event.encoded(), message_id=event.message_id
        ).add_done_callback(_forget)

    def _close(self, closing: Closing) -> None:
        visit = self._visits.get(closing.connection_id)
        if visit is None:
            return
        if closing.is_resumed:
            self._gateway.vacate(visit.client)
        else:
            visit.client.refuse(Refused(TOO_MANY, closing.reason), visit.client.identity)


def _forget(confirm: asyncio.Future[None]) -> None:
    if not confirm.cancelled() and isinstance(error := confirm.exception(), BusError):
        log.debug("gossip_not_sent", reason=str(error))
