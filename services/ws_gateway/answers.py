"""What a client says, and how it is answered."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.ws_gateway import topics
from services.ws_gateway.agents import self_report
from services.ws_gateway.commands import tell_refused
from services.ws_gateway.delivery.dedup import Heard
from services.ws_gateway.door import resumption
from services.ws_gateway.door.access import BAD_TOKEN, Identity, Refused
from services.ws_gateway.door.floods import Source
from services.ws_gateway.history import session_replays
from services.ws_gateway.requests import (
    Ack,
    Authenticate,
    CommandRequest,
    Ping,
    Presence,
    ReplayControl,
    ReplayRequest,
    Request,
    Resume,
    Subscribe,
    read_request,
)
from services.ws_gateway.stream.frames import error, message
from shared.errors import Rejected
from shared.limits import Bucket

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

BAD_TEXT, FLOODING = 1007, 4429
FRAMES_A_SECOND, FRAMES_AT_ONCE = 50.0, 200.0
COMMANDS_IN_FLIGHT = 16

# Which function answers which kind of frame. Each is given the client, who it is, and the frame; raises `Rejected` when
# it can't be done.
HANDLERS: dict[type[Request], Callable[..., Any]] = {
    **topics.HANDLERS,
    **resumption.HANDLERS,
    **self_report.HANDLERS,
    **session_replays.HANDLERS,
}
# What an observer may send: what changes nothing. Commands are looked at one by one.
OBSERVING = Subscribe | Resume | Ping | CommandRequest | ReplayRequest | ReplayControl


class Answers:
    """Hears one client: counts its frames, reads them, and sees that each is answered."""

    __slots__ = ("_bucket", "_client", "_commands", "_heard", "_source", "received")

    def __init__(self, client: "Client", source: Source) -> None:
        """`source`: where the client connects from."""
        self._client = client
        self._source = source
        self._bucket = Bucket(FRAMES_A_SECOND, FRAMES_AT_ONCE)
        self._heard = Heard()
        # How many are under way.
        self._commands = 0
        # Text messages that have come.
        self.received = 0

    def sweep(self) -> None:
        """Forget what was said too long ago to matter; to be called now and then."""
        self._heard.sweep(time.monotonic())

    def counted(self) -> bool:
        """Count a frame of any kind; false when there were too many, and the connection is being closed."""
        client = self._client
        if client.closing:
            return False
        if not self._bucket.take():
            client.refuse(Refused(FLOODING, f"more than {FRAMES_A_SECOND:g} frames a second"), client.identity)
            return False
        if not self._source.frame():
            client.refuse(Refused(FLOODING, "too many frames a second from this address"), client.identity)
            return False
        return True

    def uncount(self) -> None:
        """The last frame was asked for by the gateway: it does not count as flooding."""
        self._bucket.take(count=-1)
        self._source.uncount()

    def said(self, text: bytes) -> None:
        """A whole text message has come."""
        client = self._client
        if client.closing or client.entrance.keeps(text):
            return
        self.received += 1
        metrics = client.gateway.metrics
        metrics.messages_in += 1
        metrics.bytes_in += len(text)
        try:
            text.decode()
        except UnicodeDecodeError:
            client.close(BAD_TEXT, "the text is not UTF-8")
            return
        request: Request | None = None
        try:
            request = read_request(text)
            self._answer(request, text)
        except Rejected as rejected:
            if client.identity is None:
                client.close(BAD_TOKEN, "the first frame must authenticate")
                return
            if isinstance(request, Presence):
                self._heard.forget_status()
            tell_refused(client.identity, rejected, address=client.address, frame=type(request).__name__)
            named = request.message_id if request else rejected.details.pop("message_id", None)
            if rejected.code == "rate_limited":
                self._heard.forget(named)
            client.send(error(rejected, named))
        client.was_answered()

    def _answer(self, request: Request, text: bytes) -> None:
        client, identity = self._client, self._client.identity
        if identity is None:
            if not isinstance(request, Authenticate):
                raise Rejected("unauthorized", "the first frame must authenticate")
            client.entrance.show(request)
            return
        if isinstance(request, Ack):
            if request.message_id is None:
                raise Rejected("invalid", "an ack needs the `message_id` of the event it is for")
            for tell in client.gateway.on_ack:
                tell(client, request)
            return
        if duplicate := self._heard.note(request, time.monotonic()):
            client.send(duplicate)
            return
        if identity.permission == "observer" and not isinstance(request, OBSERVING):
            raise Rejected("forbidden", "an observer may send subscribe, ack, ping, replay and reading commands")
        if isinstance(request, Ping):
            named = {} if request.message_id is None else {"correlation_id": request.message_id}
            client.send(message("pong", **named))
        elif isinstance(request, CommandRequest):
            self._run(identity, request, text)
        elif handler := HANDLERS.get(type(request)):
            handler(client, identity, request)
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
        self._client.spawn(self._command(identity, request, request.message_id, text))

    async def _command(self, identity: Identity, request: CommandRequest, message_id: str, text: bytes) -> None:
        client = self._client
        try:
            answer, settled = await client.gateway.commands.run(identity, request, text, address=client.address)
        finally:
            self._commands -= 1
        if not settled:
            # It may be sent again: it did not happen, or its worker knows that it did.
            self._heard.forget(message_id)
        client.send(answer)
