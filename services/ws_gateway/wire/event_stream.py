"""Server-sent events: `GET /events`, for whom WebSockets are out of reach. A stream is an observer of the gateway."""

import asyncio
import fcntl
import socket
import sys
import termios
import time
from collections.abc import Callable

from services.ws_gateway.answers import FLOODING, HANDLERS
from services.ws_gateway.client import Client
from services.ws_gateway.door.access import BAD_TOKEN, NOT_ALLOWED, TOO_MANY, Refused, check_origin
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.history.resume import TRY_AGAIN_LATER
from services.ws_gateway.requests import Subscribe
from services.ws_gateway.wire.event_requests import subscription, who_asks
from services.ws_gateway.wire.http_head import Head, answer, problem, response_head
from services.ws_gateway.wire.wires import chunk, event
from shared.errors import ErrorCode, Rejected, invalid
from shared.messages import encode

PATH = "/events"
HEARTBEAT_SECONDS = 15
# How long a browser waits before it connects again.
RETRY_MS = 2000
CLOSING_SECONDS = 10.0
HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024
SEND_BUFFER = 256 * 1024
# A client has nothing to say once its request is here.
MAX_UNHEARD = 16 * 1024
# After which time it is looked whether a ping's bytes have arrived: the first time, and later at most.
FIRST_LOOK_SECONDS, LOOK_SECONDS = 0.005, 1.0

GONE, REFUSED = 1005, 1008
_ALLOW = "GET, OPTIONS"
_ERRORS: dict[int, ErrorCode] = {
    BAD_TOKEN: "unauthorized",
    NOT_ALLOWED: "forbidden",
    TOO_MANY: "conflict",
    FLOODING: "rate_limited",
}
_SUBSCRIBED, _ERROR, _LOOKED_AT = b'{"type":"subscribed"', b'{"type":"error"', 32
_STREAM = {
    "Content-Type": "text/event-stream",
    "Transfer-Encoding": "chunked",
    "Connection": "close",
    # Tells nginx not to collect what it passes on.
    "X-Accel-Buffering": "no",
}
_LAST_CHUNK = b"0\r\n\r\n"


class EventStream:
    """One request for events, and its stream. It is the client's `Link`."""

    def __init__(self, gateway: Gateway, address: str, transport: asyncio.Transport) -> None:
        self.address = address
        self.accepted_at = time.monotonic()
        self._gateway = gateway
        self._transport = transport
        # aiofastnet's `write` checks its argument first, which costs as much again; ours is always bytes.
        self._write: Callable[[bytes], None] = getattr(transport, "write_nocheck", transport.write)
        self.write: Callable[[bytes], None] = self._first
        self._encoded = gateway.wires.events(self._send)
        self._client: Client | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._cors: dict[str, str] = {}
        # What was written before the stream began; None once it has.
        self._held: list[bytes] | None = []
        self._subscribing = False
        self._closing = False
        self._sent = 0
        self._unheard = 0

    def open(self, head: Head, *, ready: bool) -> None:
        """Answer the request."""
        origin = head.headers.get("origin")
        try:
            check_origin(origin, self._gateway.origins)
        except Refused as refused:
            self._refused(refused)
            return
        if origin is not None:
            self._cors = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if head.method == "OPTIONS":
            self._end(answer(204, {"Allow": _ALLOW, **self._preflight()}))
        elif head.method != "GET":
            refusal = invalid(f"{PATH} takes {_ALLOW}, not {head.method}", allow=_ALLOW)
            self._end(problem(refusal, {"Allow": _ALLOW, **self._cors}, status=405))
        elif head.has_body:
            self._end(problem(invalid("a request for events has no body"), self._cors, status=400))
        elif self._gateway.ending or not ready:
            why = self._gateway.ending or "the gateway is starting"
            self._end(problem(Rejected("unavailable", why, retry_after=2), self._cors))
        else:
            self._enter(head)

    def _preflight(self) -> dict[str, str]:
        if not self._cors:
            return {}
        return {
            **self._cors,
            "Access-Control-Allow-Methods": "GET",
            "Access-Control-Allow-Headers": "Authorization, X-Memory-Auth, X-API-Key, Last-Event-ID, Cache-Control",
            "Access-Control-Max-Age": "600",
        }

    def _enter(self, head: Head) -> None:
        try:
            self._client = client = self._gateway.connect(self)
        except Refused as refused:
            self._refused(refused)
            return
        try:
            identity = who_asks(self._gateway, head)
            request = subscription(head)
            client.acknowledges = False
            client.entrance.enter(identity)
            if client.closing:
                return
            self._subscribing = True
            HANDLERS[Subscribe](client, identity, request)
        except Refused as refused:
            client.refuse(refused)
        except Rejected as rejected:
            self._end(problem(rejected, self._cors))
            client.close(REFUSED, rejected.message)
        else:
            self._begin()

    def _first(self, data: bytes) -> None:
        """Take whole WebSocket frames until the subscription is answered; from then on they go past this."""
        client = self._client
        assert client is not None
        if self._held is not None and not self._subscribing:
            self._held.append(data)
            return
        self._begin()
        self._encoded(data)
        if data.find(_SUBSCRIBED, 0, _LOOKED_AT) > 0:
            client.connection.write = self._encoded
        elif data.find(_ERROR, 0, _LOOKED_AT) > 0:
            client.close(TRY_AGAIN_LATER, "the event log can't be read now; resume from cursor")

    def _begin(self) -> None:
        """Everything was checked: answer, and send what was held back."""
        if self._held is None or self._closing:
            return
        held, self._held = self._held, None
        wire = self._transport
        wire.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        head = response_head(200, {**_STREAM, **self._cors})
        self._send(head + chunk(b"retry: %d\n\n" % RETRY_MS))
        self._timer = asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._beat)
        for data in held:
            self._encoded(data)

    def _send(self, data: bytes) -> None:
        if data:
            self._sent += len(data)
            self._write(data)
        else:
            # A control frame has no place in the stream: it is the gateway's ping.
            self._look_later(self._sent, FIRST_LOOK_SECONDS)

    def _beat(self) -> None:
        assert self._client is not None
        self._timer = asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._beat)
        if not self._client.connection.paused:
            self._send(chunk(b":\n\n"))

    def _look_later(self, target: int, seconds: float) -> None:
        """A ping counts as answered when the client's system has confirmed all that was sent before it."""
        if self._look:
            self._look.cancel()
        self._look = asyncio.get_running_loop().call_later(seconds, self._look_now, target, seconds)

    def _look_now(self, target: int, seconds: float) -> None:
        assert self._client is not None
        if self._arrived() >= target:
            self._client.ponged(self._client.pulse.sent.to_bytes(4, "big"))
        else:
            self._look_later(target, min(2 * seconds, LOOK_SECONDS))

    def _arrived(self) -> int:
        wire = self._transport
        # What lies in the kernel unsent, or sent and not confirmed (SIOCOUTQ of tcp(7)).
        kept = fcntl.ioctl(wire.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return self._sent - wire.get_write_buffer_size() - int.from_bytes(kept, sys.byteorder)

    def heard(self, count: int) -> None:
        """More bytes have come, which mean nothing here."""
        self._unheard += count
        if self._unheard > MAX_UNHEARD:
            self._transport.abort()

    def pause_writing(self) -> None:
        """The transport's buffer is over the high-water mark."""
        if self._client:
            self._client.full()

    def resume_writing(self) -> None:
        """The transport's buffer is below the low-water mark."""
        if self._client:
            self._client.drained()

    def buffered(self) -> int:
        """How many bytes the system has not taken yet."""
        return self._transport.get_write_buffer_size()

    def hold(self, *, held: bool) -> None:
        """A stream's client says nothing, so there is nothing to hold back."""

    def close(self, code: int, reason: str) -> None:
        """Say why in a last event, or, before there is a stream, by an HTTP status; then close."""
        if self._held is not None:
            self._refused(Refused(code, reason))
        elif not self._closing:
            self._end(chunk(event(encode({"type": "close", "code": code, "reason": reason}))) + _LAST_CHUNK)

    def _refused(self, refused: Refused) -> None:
        error = Rejected(_ERRORS.get(refused.code, "unavailable"), refused.reason)
        self._end(problem(error, self._cors))

    def _end(self, data: bytes) -> None:
        if self._closing:
            return
        self._stop()
        self._timer = end(self._transport, data)

    def _stop(self) -> None:
        self._closing = True
        for timer in (self._timer, self._look):
            if timer:
                timer.cancel()

    def lost(self) -> None:
        """The connection is closed."""
        self._stop()
        if self._client:
            self._client.gone(GONE)
            # It leads back here.
            self._client = None


def end(transport: asyncio.Transport, data: bytes) -> asyncio.TimerHandle:
    """Write the last bytes and close; who does not take them is cut off in the end."""
    transport.write(data)
    transport.close()
    return asyncio.get_running_loop().call_later(CLOSING_SECONDS, transport.abort)
