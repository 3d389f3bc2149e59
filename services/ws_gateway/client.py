"""One client of the gateway, from its handshake to its close. Free of sockets."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from services.ws_gateway.answers import Answers
from services.ws_gateway.door.access import BAD_TOKEN, NOT_ALLOWED, Identity, Refused
from services.ws_gateway.door.entrance import MAX_WAITING, Entrance
from services.ws_gateway.fanout.backlog import Backlog
from services.ws_gateway.fanout.hub import SLOW_CONSUMER, Connection
from services.ws_gateway.pace.quality import Quality
from services.ws_gateway.pulse import Pulse
from shared.logs import get_logger
from shared.messages import new_id
from shared.replay import Replay

if TYPE_CHECKING:
    from services.ws_gateway.gateway import Gateway

GOING_AWAY, BROKEN, TOO_LARGE = 1001, 1011, 4413
MAX_FRAME = 64 * 1024
UNANSWERED_PINGS = 3

log = get_logger()


class Link(Protocol):
    """The socket of a client, as the server gives it."""

    address: str
    # Takes whole WebSocket frames; what the socket does not take waits, and `Client.full` is called.
    write: Callable[[bytes], None]

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what waits, then close; `Client.gone` is called in the end."""

    def hold(self, *, held: bool) -> None:
        """Stop reading what the client sends, or go on."""

    def buffered(self) -> int:
        """How many bytes the socket has not taken yet."""


class Client:
    """What the gateway knows of one connection, and how it answers."""

    # Whether it can send `ack` at all.
    acknowledges = True

    def __init__(self, gateway: "Gateway", link: Link) -> None:
        self.id = new_id()
        self.identity: Identity | None = None
        self.gateway = gateway
        self.connection = Connection(link.write, self.close, Backlog(MAX_WAITING["human"]))
        self.reader = gateway.library.reader(self.connection, self.spawn)
        self.closing = False
        self.pulse = Pulse()
        self.quality = Quality()
        # The connection it goes on with (at other replicas to be closed by whoever sees it seated), and whether the
        # next `subscribed` is to say so.
        self.takes_over: str | None = None
        self.tells_resumed: str | None = None
        # What it has said so far of how it wants its events, as its resume tokens hold it.
        self.taste: dict[str, Any] = {}
        # Sessions that are replayed to it, by the replays' ids.
        self.replays: dict[str, Replay] = {}
        # Set while the socket takes what is written, and once it is closed.
        self.room = asyncio.Event()
        self.room.set()
        # Its seat was given to the connection that goes on with it.
        self.vacated = False
        self.entrance = Entrance(self)
        self.answers = Answers(self, gateway.floods.source(link.address))
        self._link = link
        self._code = 1006
        self._reason = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = False
        self._opened_at = time.monotonic()
        # When its socket was accepted, on the monotonic clock.
        self.accepted_at: float = getattr(link, "accepted_at", self._opened_at)

    @property
    def address(self) -> str:
        """Where the client connects from."""
        return self._link.address

    def named(self) -> dict[str, Any]:
        """What log lines call it."""
        known = self.identity.named() if self.identity else {}
        return {"connection_id": self.id, "address": self._link.address, **known}

    def send(self, frame: bytes) -> None:
        """Write a frame of the gateway's own; these never wait behind events."""
        if not self.closing:
            self.connection.write(frame)

    def deflate(self, *, wanted: bool) -> None:
        """Send large messages compressed, or as text; to be called while the hub has no part of the connection."""
        write = self._link.write
        self.connection.write = self.gateway.wires.deflated(write) if wanted else write

    def refuse(self, refused: Refused, identity: Identity | None = None) -> None:
        """Turn the client away, so that it can see why."""
        self.gateway.audit.note("refuse", identity, self.address, str(refused.code))
        self.gateway.metrics.refused.labels(str(refused.code)).inc()
        if refused.code in (BAD_TOKEN, NOT_ALLOWED):
            log.warning("access_refused", **self.named(), code=refused.code, detail=refused.reason)
        self.close(refused.code, refused.reason)

    def close(self, code: int, reason: str) -> None:
        """Close the connection, saying why; more of it does nothing."""
        if self.closing:
            return
        self.closing = True
        self.room.set()
        self._code, self._reason = code, reason
        self.reader.stop()
        self.gateway.hub.forget(self.connection)
        self._link.close(code, reason)

    def gone(self, code: int) -> None:
        """The socket is closed; `code` is what the client said, if the gateway did not close it."""
        if not self.closing:
            self.closing = True
            self._code = code
            self.reader.stop()
            self.gateway.hub.forget(self.connection)
        self.entrance.stop()
        for task in self._tasks:
            task.cancel()
        self.gateway.release(self, self._code)
        log.info(
            "client_closed", **self.named(), code=self._code, reason=self._reason, sent=self.connection.sent,
            received=self.answers.received, dropped=self.connection.backlog.dropped,
            seconds=round(time.monotonic() - self._opened_at, 3),
        )  # fmt: skip
        # They lead back here, and would leave all of it to the garbage collector, which comes seldom.
        del self.answers, self.entrance, self.reader
        self.connection.close, self.connection.position = _ignore, None

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something that takes time; ends with the connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            log.error("client_task_failed", **self.named(), exc_info=fault)
            self.close(BROKEN, "the gateway made a mistake; resume from cursor")

    def full(self) -> None:
        """The socket takes no more for now."""
        if not self.closing:
            self.room.clear()
            self.gateway.pacing.full(self, self._link.buffered())
            self.gateway.hub.pause(self.connection)

    def drained(self) -> None:
        """The socket has room again."""
        self.room.set()
        if self._held:
            self._held = False
            self._link.hold(held=False)
        self.gateway.pacing.drained(self, self._link.buffered())
        self.gateway.hub.resume(self.connection)

    def beat(self) -> None:
        """Ping; close when too many pings have not been answered."""
        if self.closing or self.identity is None:
            return
        self.answers.sweep()
        if self.pulse.unanswered >= UNANSWERED_PINGS:
            slow = self.connection.paused
            self.close(SLOW_CONSUMER if slow else GOING_AWAY, f"{UNANSWERED_PINGS} pings were not answered")
            return
        self.pulse.unanswered += 1
        self.ping_now()

    @property
    def ping_ms(self) -> float | None:
        """How long the last answered ping took."""
        return self.pulse.ping_ms

    def ping_now(self, behind: bytes = b"") -> int:
        """Ping out of turn, right behind some frames.

        Returns the ping's number: once `pulse.answered` is there, all written before was read.
        """
        ping = self.pulse.ping()
        if self.acknowledges:
            self.send(behind + ping)
        else:
            # A stream of events takes a ping by itself: there is no place for it among the events.
            if behind:
                self.send(behind)
            self.send(ping)
        return self.pulse.sent

    def ponged(self, payload: bytes = b"") -> None:
        """A pong has come."""
        if self.pulse.pong(payload):
            for tell in self.gateway.on_pong:
                tell(self)

    def was_answered(self) -> None:
        """It was given an answer: who asks without reading is not heard until it has read, or these would pile up."""
        if self.connection.paused and not self._held and not self.closing:
            self._held = True
            self._link.hold(held=True)


def _ignore(code: int, reason: str) -> None:
    """Where closing something again ends."""
