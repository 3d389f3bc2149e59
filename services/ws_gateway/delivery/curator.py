"""The curator: sees to it that critical events are acknowledged, asks twice, and then tells the admins.

A rule, no model. One timer serves all connections; those that owe no acknowledgement cost nothing.
"""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from services.ws_gateway.fanout.groups import Connection
from services.ws_gateway.posting import Posting
from services.ws_gateway.requests import Ack
from services.ws_gateway.stream.frames import Frame, message
from shared.messages.json_text import rfc3339
from shared.messages.live import UnacknowledgedUpdates

if TYPE_CHECKING:
    from services.ws_gateway.client import Client
    from services.ws_gateway.gateway import Gateway

ACK_SECONDS = 30.0
# How often is asked before the admins are told.
ATTEMPTS = 2
# Of one connection; of more the oldest are told to the admins before their time.
MAX_MISSING = 256
# A connection is asked at most once within this part of `ACK_SECONDS`: what is due then is asked for together.
TOGETHER = 1 / 6
# What waits to be told to the admins; of more the oldest are dropped, and the log says so.
MAX_WAITING = 10_000
# Connections looked at before others get their turn.
STRIDE = 200

_EVENT_IDS = UUID("0b0f4a52-5d5c-5b7e-8d0e-3a1f6c2f9a11")

CallLater = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


class _Owed:
    """A critical event that one connection has not acknowledged."""

    __slots__ = ("attempts", "cursor", "due", "kind", "sent")

    def __init__(self, frame: Frame, sent: float, due: float) -> None:
        self.cursor = frame.cursor
        self.kind = frame.type
        self.sent = sent
        self.due = due
        self.attempts = 0


class _Account:
    """What one connection owes."""

    __slots__ = ("client", "lapsed", "owed", "queued")

    def __init__(self, client: "Client") -> None:
        self.client: Client | None = client
        # By message id, the oldest first.
        self.owed: dict[str, _Owed] = {}
        # Given up, and to be told to the admins: with when they were sent.
        self.lapsed: dict[str, float] = {}
        # Whether it stands in the queue.
        self.queued = False


def posting_of(publish: Callable[[UnacknowledgedUpdates], Awaitable[None]]) -> Posting:
    """Publishes one after the other what the admins are to be told, once the broker is there."""

    async def send(events: Sequence[UnacknowledgedUpdates], message_id: str) -> None:
        for event in events:
            await publish(event)

    return Posting("unacknowledged_updates", send, at_most=1, wait_s=0, room=MAX_WAITING)


class Curator:
    """Watches over the acknowledgements of all connections of a gateway."""

    def __init__(
        self,
        gateway: "Gateway",
        publish: Callable[[UnacknowledgedUpdates], None],
        *,
        sender: str,
        ack_s: float = ACK_SECONDS,
        call_later: CallLater | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._sender = sender
        self._ack_s = ack_s
        self._call_later = call_later or gateway.call_later
        self._clock = clock
        self._clients: dict[Connection, Client] = {}
        self._accounts: dict[Connection, _Account] = {}
        # When each account is looked at next; one of a client that is gone is skipped.
        self._queue: list[tuple[float, int, _Account]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.checkins = self.told = 0
        readings = gateway.metrics.readings
        readings.level("unacknowledged", "Acknowledgements that are missing", lambda: self.unacknowledged)
        readings.count("curator_checkins", "Times the curator has asked for some", lambda: self.checkins)
        readings.count("curator_told", "Times it has told the admins", lambda: self.told)
        gateway.hub.on_critical = self.watch
        gateway.on_seated.append(self._seated)
        gateway.on_released.append(self._released)
        gateway.on_ack.append(self.acknowledged)

    def _seated(self, client: "Client") -> None:
        if client.acknowledges:
            self._clients[client.connection] = client

    def _released(self, client: "Client") -> None:
        self._clients.pop(client.connection, None)
        if account := self._accounts.pop(client.connection, None):
            # It may stand in the queue for a while.
            account.client = None
            account.owed, account.lapsed = {}, {}

    def watch(self, connections: Sequence[Connection], frame: Frame) -> None:
        """These connections were given a critical event, of which an acknowledgement is wanted."""
        if not frame.message_id:
            return
        now = self._clock()
        for connection in connections:
            account = self._accounts.get(connection)
            if account is None:
                client = self._clients.get(connection)
                if client is None:
                    continue
                account = self._accounts[connection] = _Account(client)
            if frame.message_id in account.owed:
                continue
            account.owed[frame.message_id] = _Owed(frame, now, now + self._ack_s)
            if len(account.owed) > MAX_MISSING:
                oldest = next(iter(account.owed))
                account.lapsed[oldest] = account.owed.pop(oldest).sent
            if not account.queued:
                self._enqueue(account, now + self._ack_s)
            elif len(account.lapsed) >= MAX_MISSING:
                self._tell_admins(account, now)
        self._arm(now)

    def acknowledged(self, client: "Client", ack: Ack) -> None:
        """A client has acknowledged an event; what it does not owe changes nothing."""
        account, named = self._accounts.get(client.connection), ack.message_id
        if account is None or named is None:
            return
        # Those not told to the admins yet may still be acknowledged.
        if account.owed.pop(named, None) is not None or account.lapsed.pop(named, None) is not None:
            client.answers.uncount()

    @property
    def unacknowledged(self) -> int:
        """How many acknowledgements are missing now."""
        return sum(len(account.owed) for account in self._accounts.values())

    def _enqueue(self, account: _Account, at: float) -> None:
        account.queued = True
        self._number += 1
        heapq.heappush(self._queue, (at, self._number, account))

    def _arm(self, now: float) -> None:
        """Set the timer for the first in the queue, unless it is set for no later."""
        if not self._queue or (self._timer is not None and self._timer_at <= self._queue[0][0]):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._queue[0][0]
        self._timer = self._call_later(max(0.0, self._timer_at - now), self._look)

    def _look(self) -> None:
        self._timer = None
        # The loop's timer may be a millisecond early.
        now = max(self._clock(), self._timer_at)
        looked = 0
        while self._queue and self._queue[0][0] <= now and looked < STRIDE:
            _, _, account = heapq.heappop(self._queue)
            account.queued = False
            looked += 1
            if account.client is not None:
                self._review(account, account.client, now)
        self._arm(now)

    def _review(self, account: _Account, client: "Client", now: float) -> None:
        """Ask for what is due, tell the admins of what was asked for often enough, and say when to look again."""
        if client.connection.paused:
            # It has not even been given what waits for it: its time begins when it takes something.
            for owed in account.owed.values():
                owed.due = max(owed.due, now + self._ack_s)
        asked: dict[int, dict[str, _Owed]] = {}
        for message_id, owed in list(account.owed.items()):
            if owed.due > now:
                continue
            if owed.attempts >= ATTEMPTS:
                account.lapsed[message_id] = owed.sent
                del account.owed[message_id]
                continue
            owed.attempts += 1
            owed.due += self._ack_s
            asked.setdefault(owed.attempts, {})[message_id] = owed
        for attempt, missing in sorted(asked.items(), reverse=True):
            self._check_in(client, missing, attempt, now)
        self._tell_admins(account, now)
        if account.owed:
            first = min(owed.due for owed in account.owed.values())
            self._enqueue(account, max(first, now + self._ack_s * TOGETHER))
        else:
            self._accounts.pop(client.connection, None)

    def _check_in(self, client: "Client", missing: dict[str, _Owed], attempt: int, now: float) -> None:
        self.checkins += 1
        wall = datetime.now(UTC)
        what = "1 update" if len(missing) == 1 else f"{len(missing)} updates"
        client.send(
            message(
                "curator_checkin",
                message=f"Hey, noticed you haven't acknowledged {what}. Everything okay? "
                "Need different format or missing context?",
                missing_updates=[
                    {
                        "message_id": message_id,
                        "cursor": owed.cursor,
                        "type": owed.kind,
                        "sent_at": rfc3339(wall - timedelta(seconds=now - owed.sent)),
                    }
                    for message_id, owed in missing.items()
                ],
                attempt=attempt,
            )
        )

    def _tell_admins(self, account: _Account, now: float) -> None:
        client, lapsed = account.client, account.lapsed
        if not lapsed or client is None or client.identity is None:
            return
        account.lapsed = {}
        self.told += 1
        missing = list(lapsed)
        self._publish(
            UnacknowledgedUpdates(
                # The same for the same updates, so that a copy counts as one.
                message_id=str(uuid5(_EVENT_IDS, "\n".join((client.id, *missing)))),
                sender_agent_id=self._sender,
                priority="high",
                agent_id=client.identity.agent_id,
                connection_id=client.id,
                missing=missing,
                waited_s=round(now - min(lapsed.values()), 3),
            )
        )
