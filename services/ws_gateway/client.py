"""One client of the gateway, from its handshake to its close. Free of sockets."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from services.ws_gateway.answers import HANDLERS
from services.ws_gateway.commands import tell_refused
from services.ws_gateway.delivery.dedup import Heard
from services.ws_gateway.door.access import BAD_TOKEN, NOT_ALLOWED, Identity, Refused
from services.ws_gateway.door.entrance import MAX_WAITING, Entrance
from services.ws_gateway.fanout.backlog import Backlog
from services.ws_gateway.fanout.hub import SLOW_CONSUMER, Connection
from services.ws_gateway.pace.quality import Quality
from services.ws_gateway.pulse import Pulse
from services.ws_gateway.requests import (
    Ack,
    Authenticate,
    CommandRequest,
    Ping,
    Presence,
    Request,
    Resume,
    Subscribe,
    read_request,
)
from services.ws_gateway.stream.frames import error, message
from shared.errors import Rejected
from shared.limits import Bucket
from shared.logs import get_logger
from shared.messages import new_id

if TYPE_CHECKING:
    from services.ws_gateway.gateway import Gateway

GOING_AWAY, BAD_TEXT, BROKEN, TOO_LARGE, FLOODING = 1001, 1007, 1011, 4413, 4429
MAX_FRAME = 64 * 1024
UNANSWERED_PINGS = 3
FRAMES_A_SECOND, FRAMES_AT_ONCE = 50.0, 200.0
COMMANDS_IN_FLIGHT = 16

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
        self.received = 0
        # The connection it goes on with (at other replicas to be closed by whoever sees it seated), and whether the
        # next `subscribed` is to say so.
        self.takes_over: str | None = None
        self.tells_resumed: str | None = None
        # What it has said so far of how it wants its events, as its resume tokens hold it.
        self.taste: dict[str, Any] = {}
        # Its seat was given to the connection that goes on with it.
        self.vacated = False
        self._source = gateway.floods.source(link.address)
        self._entrance = Entrance(self)
        self._link = link
        self._code = 1006
        self._reason = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._bucket = Bucket(FRAMES_A_SECOND, FRAMES_AT_ONCE)
        self._heard = Heard()
        self._commands = 0
        self._held = False
        self._opened_at = time.monotonic()
        # When its socket was accepted, on the monotonic clock.
        self.accepted_at: float = getattr(link, "accepted_at", self._opened_at)

    def open(self, token: str | None) -> None:
        """The handshake is done; `token` is what it showed."""
        self._entrance.open(token)

    def enter(self, identity: Identity) -> None:
        """It is known who this is: let the client in, or turn it away."""
        self._entrance.enter(identity)

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
        self._entrance.stop()
        for task in self._tasks:
            task.cancel()
        self.gateway.release(self, self._code)
        log.info(
            "client_closed", **self.named(), code=self._code, reason=self._reason, sent=self.connection.sent,
            received=self.received, dropped=self.connection.backlog.dropped,
            seconds=round(time.monotonic() - self._opened_at, 3),
        )  # fmt: skip

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
            self.gateway.pacing.full(self, self._link.buffered())
            self.gateway.hub.pause(self.connection)

    def drained(self) -> None:
        """The socket has room again."""
        if self._held:
            self._held = False
            self._link.hold(held=False)
        self.gateway.pacing.drained(self, self._link.buffered())
        self.gateway.hub.resume(self.connection)

    def beat(self) -> None:
        """Ping; close when too many pings have not been answered."""
        self._heard.sweep(time.monotonic())
        if self.closing or self.identity is None:
            return
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

    def counted(self) -> bool:
        """Count a frame of any kind; false when there were too many, and the connection is being closed."""
        if self.closing:
            return False
        if not self._bucket.take():
            self.refuse(Refused(FLOODING, f"more than {FRAMES_A_SECOND:g} frames a second"), self.identity)
            return False
        if not self._source.frame():
            self.refuse(Refused(FLOODING, "too many frames a second from this address"), self.identity)
            return False
        return True

    def uncount(self) -> None:
        """The last frame was asked for by the gateway: it does not count as flooding."""
        self._bucket.take(count=-1)
        self._source.uncount()

    def said(self, text: bytes) -> None:
        """A whole text message has come."""
        if self.closing or self._entrance.keeps(text):
            return
        self.received += 1
        self.gateway.metrics.messages_in += 1
        self.gateway.metrics.bytes_in += len(text)
        try:
            text.decode()
        except UnicodeDecodeError:
            self.close(BAD_TEXT, "the text is not UTF-8")
            return
        request: Request | None = None
        try:
            request = read_request(text)
            self._answer(request, text)
        except Rejected as rejected:
            if self.identity is None:
                self.close(BAD_TOKEN, "the first frame must authenticate")
                return
            if isinstance(request, Presence):
                self._heard.forget_status()
            tell_refused(self.identity, rejected, address=self.address, frame=type(request).__name__)
            named = request.message_id if request else rejected.details.pop("message_id", None)
            if rejected.code == "rate_limited":
                self._heard.forget(named)
            self.send(error(rejected, named))
        self.was_answered()

    def was_answered(self) -> None:
        """Who asks without reading the answers is not heard until it has read them: they would pile up."""
        if self.connection.paused and not self._held and not self.closing:
            self._held = True
            self._link.hold(held=True)

    def _answer(self, request: Request, text: bytes) -> None:
        identity = self.identity
        if identity is None:
            if not isinstance(request, Authenticate):
                raise Rejected("unauthorized", "the first frame must authenticate")
            self._entrance.show(request)
            return
        if isinstance(request, Ack):
            if request.message_id is None:
                raise Rejected("invalid", "an ack needs the `message_id` of the event it is for")
            for tell in self.gateway.on_ack:
                tell(self, request)
            return
        if duplicate := self._heard.note(request, time.monotonic()):
            self.send(duplicate)
            return
        if identity.permission == "observer" and not isinstance(request, Subscribe | Resume | Ping | CommandRequest):
            raise Rejected("forbidden", "an observer may send subscribe, ack, ping and reading commands")
        if isinstance(request, Ping):
            named = {} if request.message_id is None else {"correlation_id": request.message_id}
            self.send(message("pong", **named))
        elif isinstance(request, CommandRequest):
            self._run(identity, request, text)
        elif handler := HANDLERS.get(type(request)):
            handler(self, identity, request)
        else:
            raise Rejected("conflict", "this connection is authenticated already")

    def forget(self, message_id: str | None) -> None:
        """Let this id be used again: nothing came of its message."""
        self._heard.forget(message_id)

    def _run(self, identity: Identity, request: CommandRequest, text: bytes) -> None:
        if request.message_id is None:
            raise Rejected("invalid", "a command needs a `message_id`, by which its answer is known")
        if self._commands >= COMMANDS_IN_FLIGHT:
            raise Rejected("rate_limited", f"{COMMANDS_IN_FLIGHT} commands are under way; wait for an answer")
        self._commands += 1
        self.spawn(self._command(identity, request, request.message_id, text))

    async def _command(self, identity: Identity, request: CommandRequest, message_id: str, text: bytes) -> None:
        try:
            answer, settled = await self.gateway.commands.run(identity, request, text, address=self.address)
        finally:
            self._commands -= 1
        if not settled:
            # It may be sent again: it did not happen, or its worker knows that it did.
            self._heard.forget(message_id)
        self.send(answer)
