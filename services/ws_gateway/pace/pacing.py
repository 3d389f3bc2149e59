"""Which connections are slow or warm up, and what is done for them by their own preference."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.metrics import Readings
from services.ws_gateway.pace.pacer import CRITICAL_ONLY, FULL_DELAYED, SUMMARIES, Pacer
from services.ws_gateway.pace.warmup import STAGE_SECONDS
from services.ws_gateway.pace.wishes import Contents, Wishes, wishes_of
from services.ws_gateway.requests import Subscribe, Taste
from services.ws_gateway.stream.frames import message

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

# After how many seconds what was held is told, and what the mode is called on the wire.
DELAYS: Mapping[str, float] = {SUMMARIES: 10.0, FULL_DELAYED: 30.0, CRITICAL_ONLY: 5.0}
MODES: Mapping[str, str] = {SUMMARIES: "summary", FULL_DELAYED: "full", CRITICAL_ONLY: "critical_only"}
REALTIME = "realtime"


class Pacing:
    """Looks after the connections that are slow or warm up; the others cost nothing."""

    def __init__(
        self,
        hub: Hub,
        *,
        delays: Mapping[str, float] = DELAYS,
        stages: Sequence[float] = STAGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._delays = delays
        self._stages = stages
        self._clock = clock
        self._contents = Contents()
        # What those wish for who said so.
        self._wishes: dict[Client, Wishes] = {}
        # Those of whom something may be due.
        self._watched: dict[Client, None] = {}
        # What pacers that are gone have done.
        self._summarised = self._coalesced = 0

    def wish(self, client: "Client", request: Taste) -> None:
        """Take what a frame says of how the client wants its events. Raises `Rejected("invalid")`."""
        warm_up = isinstance(request, Subscribe) and request.warmup
        said = (request.slow_connection_preference, request.required_data, request.batchable_data)
        if not warm_up and said == (None, None, None):
            return
        identity = client.identity
        assert identity is not None
        wishes = wishes_of(identity.agent_id, request, self._wishes.get(client), self._contents)
        self._wishes[client] = wishes
        pacer = self.pacer_of(client)
        if pacer is not None:
            pacer.wishes = wishes
        if warm_up:
            self._pacer(client, wishes).warm_up(self._clock(), self._stages)
        if pacer is not None or client.quality.slow:
            self._watched[client] = None
            self._settle(client)

    @staticmethod
    def pacer_of(client: "Client") -> Pacer | None:
        """The pacer of a client that has one."""
        pacer = client.connection.pacer
        return pacer if isinstance(pacer, Pacer) else None

    def _pacer(self, client: "Client", wishes: Wishes) -> Pacer:
        pacer = self.pacer_of(client)
        if pacer is None:
            pacer = Pacer(self._hub, client.connection, wishes)
            self._hub.pace(client.connection, pacer)
        self._watched[client] = None
        return pacer

    def full(self, client: "Client", buffered: int) -> None:
        """A client's socket is full, and holds so many bytes."""
        client.quality.full(self._clock(), buffered)
        self._watched[client] = None

    def drained(self, client: "Client", buffered: int) -> None:
        """A client's socket has room again, and holds so many bytes; to be called before more is written."""
        client.quality.drained(self._clock(), buffered)
        if client.quality.slow:
            # Whether it is fast again is asked now, not at its next beat.
            client.ping_now()

    def ponged(self, client: "Client") -> None:
        """A client has answered a ping."""
        if client.ping_ms is not None:
            client.quality.pong(client.ping_ms)
            if client.identity is not None:
                self._watched[client] = None

    def beat(self) -> None:
        """Do what is due; to be called once a second."""
        now = self._clock()
        for client in list(self._watched):
            if client.closing:
                self.forget(client)
                continue
            self._settle(client)
            if (pacer := self.pacer_of(client)) is not None:
                pacer.tick(now)
                if pacer.is_idle:
                    self._unpace(client, pacer)
            elif not client.quality.needs_watching:
                del self._watched[client]

    def _settle(self, client: "Client") -> None:
        """Put a client on the slow lane it wishes for, or take it off."""
        now = self._clock()
        wishes, pacer = self._wishes.get(client), self.pacer_of(client)
        lane = wishes.preference if wishes else None
        before = pacer.lane if pacer else None
        slow = client.quality.judge(now, at_least=self._delays.get(lane or "", 0.0))
        if wishes is not None and lane is not None and slow:
            if before != lane:
                self._pacer(client, wishes).enter(lane, self._delays[lane], now)
                self._tell(client, MODES[lane], self._delays[lane], slow)
        elif pacer is not None and before is not None:
            pacer.leave()
            self._tell(client, REALTIME, 0, slow)

    @staticmethod
    def _tell(client: "Client", mode: str, delay: float, reason: str) -> None:
        quality = client.quality
        ping, speed = quality.mean_ping_ms, quality.bytes_s
        client.send(
            message(
                "connection_quality",
                mode=mode,
                batch_delay=delay,
                reason=reason or None,
                mean_ping_ms=None if ping is None else round(ping, 1),
                bytes_s=None if speed is None else round(speed),
            )
        )

    def _unpace(self, client: "Client", pacer: Pacer) -> None:
        self._count(pacer)
        client.connection.backlog.owed = None
        self._hub.unpace(client.connection)

    def _count(self, pacer: Pacer) -> None:
        self._summarised += pacer.summarised
        self._coalesced += pacer.coalesced

    def forget(self, client: "Client") -> None:
        """The client is gone."""
        self._wishes.pop(client, None)
        self._watched.pop(client, None)
        if (pacer := self.pacer_of(client)) is not None:
            self._count(pacer)
            client.connection.pacer = None

    def attend(self, readings: Readings) -> None:
        """Let the metrics read what is done here."""
        readings.level("paced", "Connections on a slow lane or warming up, by mode", self.modes, label="mode")
        readings.count("summarised", "Events told of in summaries only", lambda: self._done("summarised"))
        readings.count("coalesced", "Events left out for a later one", lambda: self._done("coalesced"))

    def _pacers(self) -> list[Pacer]:
        return [pacer for client in self._watched if (pacer := self.pacer_of(client)) is not None]

    def modes(self) -> dict[str, int]:
        """How many connections are in each mode."""
        pacers = self._pacers()
        lanes = {MODES[lane]: sum(pacer.lane == lane for pacer in pacers) for lane in MODES}
        return {**lanes, "warmup": sum(pacer.warmup is not None for pacer in pacers)}

    def _done(self, what: Literal["summarised", "coalesced"]) -> int:
        gone = self._summarised if what == "summarised" else self._coalesced
        return gone + sum(getattr(pacer, what) for pacer in self._pacers())


def health(client: "Client") -> int:
    """How well a connection is, from 0 to 100 (see `quality.py`)."""
    backlog = client.connection.backlog
    return client.quality.health(
        time.monotonic(), waiting=waiting(client), room=backlog.max_events, dropped=backlog.dropped,
        unanswered=client.pulse.unanswered,
    )  # fmt: skip


def waiting(client: "Client") -> int:
    """How many events wait for a client, held back ones included."""
    pacer = Pacing.pacer_of(client)
    return len(client.connection.backlog) + (pacer.held if pacer else 0)


def described(client: "Client") -> dict[str, Any]:
    """What the status display tells of a connection's quality."""
    quality, pacer = client.quality, Pacing.pacer_of(client)
    ping, speed = quality.mean_ping_ms, quality.bytes_s
    lane = pacer.lane if pacer else None
    return {
        "mean_ping_ms": None if ping is None else round(ping, 1),
        "bytes_s": None if speed is None else round(speed),
        "queue": waiting(client),
        "dropped": client.connection.backlog.dropped,
        "messages_out": client.connection.sent,
        "messages_in": client.answers.received,
        "slow": quality.slow or None,
        "slow_lane": MODES[lane] if lane else None,
    }
