"""The listener: from a TCP connection to a WebSocket, on picows. Only this module and `sockets.py` know picows.

Its `WSProtocol` is extended, not only used: the peer's address and a frame's header are needed earlier than the
listener's callbacks have them, and a request for events is none of its.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiofastnet
from multidict import MultiMapping
from picows import (
    WSAutoPingStrategy,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from services.ws_gateway.client import MAX_FRAME
from services.ws_gateway.door.access import SUBPROTOCOL, offered_protocols
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.operation.state_page import PATH as STATE
from services.ws_gateway.wire.event_stream import PATH as EVENTS
from services.ws_gateway.wire.event_stream import EventStream, end
from services.ws_gateway.wire.http_head import END, MAX_HEAD, BadRequest, is_for, problem, read_head
from services.ws_gateway.wire.sizes import FrameSizes
from services.ws_gateway.wire.sockets import Socket
from shared.errors import Rejected, invalid
from shared.logs import get_logger

HANDSHAKE_SECONDS = 5.0
BACKLOG = 2048

# Status, content type and body of a page that is no WebSocket; None where there is none.
HttpAnswer = tuple[int, str, bytes]
HttpPages = Callable[[str], HttpAnswer | None]

log = get_logger()


def _quiet() -> "logging.LoggerAdapter[logging.Logger]":
    # What picows has to say of a client's faults is told by the close code; an adapter spares a logger per connection.
    logger = logging.getLogger("picows.gateway")
    logger.setLevel(logging.CRITICAL + 1)
    return logging.LoggerAdapter(logger, {})


class Server:
    """Listens, and gives each WebSocket to the gateway."""

    def __init__(self, gateway: Gateway, pages: HttpPages, ready: Callable[[], bool]) -> None:
        self.gateway = gateway
        self.pages = pages
        # Until the ring is filled there is nothing true to tell a client.
        self.ready = ready
        # Answers a request for the status display, given its head.
        self.state_page: Callable[[bytes], Awaitable[bytes]] | None = None
        self.open_sockets = 0
        self.logger = _quiet()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chooses for 0."""
        loop = asyncio.get_running_loop()
        self._server = await aiofastnet.create_server(loop, lambda: _Protocol(self), host, port, backlog=BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Take no more connections."""
        if self._server:
            self._server.close()

    @property
    def max_sockets(self) -> int:
        """Sockets at any stage, those before their handshake included."""
        return self.gateway.places.limits.total + self.gateway.places.limits.unauthenticated


class _Protocol(WSProtocol):
    """One socket, from its first byte."""

    def __init__(self, server: Server) -> None:
        # Its own handshake timeout would leave a future nobody waits for; see `_too_slow`.
        super().__init__(
            None, None, False, self._route, server.logger, True, None, False, 30, 30,
            WSAutoPingStrategy.PING_WHEN_IDLE, False, MAX_FRAME, None, 2048,
        )  # fmt: skip
        self._server = server
        self._sizes = FrameSizes(MAX_FRAME)
        self._view = memoryview(b"")
        # The request's head, until it is whole; then it is a WebSocket, or a stream of events, or was answered.
        self._head = bytearray()
        self._answered = False
        self._client: Socket | None = None
        self._stream: EventStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._accepted = False
        self._accepted_at = 0.0
        self.address = "?"

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._accepted_at = time.monotonic()
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "local"
        gateway = self._server.gateway
        # Behind a proxy the client's own address is known, and counted, once its request is there.
        floods = self.address not in gateway.proxies and not gateway.floods.source(self.address).connection()
        self._accepted = self._server.open_sockets < self._server.max_sockets and not floods
        self._server.open_sockets += 1
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, transport.abort)
        if not self._accepted:
            # Not at once: what is closed before it is read from leaves its number in the loop's selector, and the next
            # connection that gets this number is not heard.
            self._answered = True
            asyncio.get_running_loop().call_soon(transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.open_sockets -= 1
        if self._timer:
            self._timer.cancel()
        if self._stream:
            self._stream.lost()
        super().connection_lost(error)

    def pause_writing(self) -> None:
        if self._stream:
            self._stream.pause_writing()
        else:
            super().pause_writing()

    def resume_writing(self) -> None:
        if self._stream:
            self._stream.resume_writing()
        else:
            super().resume_writing()

    def get_buffer(self, hint: int) -> memoryview:
        self._view = super().get_buffer(hint)
        return self._view

    def buffer_updated(self, count: int) -> None:
        # What is not handed on stays out of picows' sight: the same piece of its buffer takes whatever else comes.
        if self._client is not None:
            self._take(self._client, count)
        elif self._stream is not None:
            self._stream.heard(count)
        elif not self._answered:
            self._read_head(count)

    def _take(self, client: Socket, count: int) -> None:
        """Frames have come."""
        sizes = self._sizes
        good = sizes.feed(self._view[:count])
        if good and sizes.close_begins and not sizes.fault:
            # picows drops a frame when the next one, a close frame that is not valid, is there already.
            close = bytes(self._view[sizes.close_begins : good])
            super().buffer_updated(sizes.close_begins)
            self._hand_on(close)
        elif good:
            super().buffer_updated(good)
        if sizes.fault:
            client.fail(*sizes.fault)
            if sizes.close_seen:
                self.transport.disconnect()

    def _read_head(self, count: int) -> None:
        """A piece of the request's head has come."""
        self._head += self._view[:count]
        end = self._head.find(END) + len(END)
        if end < len(END):
            if len(self._head) > MAX_HEAD:
                self._too_long()
            return
        self._answered = True
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head.clear()
        if len(head) > MAX_HEAD:
            self._too_long()
        elif is_for(head, EVENTS.encode()):
            self._stream_events(head)
        elif is_for(head, STATE.encode()) and self._server.state_page:
            self._task = asyncio.get_running_loop().create_task(self._answer_by(self._server.state_page(head)))
        else:
            self._hand_on(head)
            if self._client is not None and rest:
                # Frames sent before the handshake was answered.
                self._hand_on(rest, self._client)

    def _stream_events(self, data: bytes) -> None:
        if self._timer:
            self._timer.cancel()
        wire = self.transport.underlying_transport
        try:
            head = read_head(data)
        except BadRequest as fault:
            end(wire, problem(invalid(str(fault)), {}, status=fault.status))
            return
        if not self._is_welcome(head.headers):
            end(wire, problem(Rejected("rate_limited", "too many connections a second", retry_after=10), {}))
            return
        self._stream = EventStream(self._server.gateway, self.address, wire)
        self._stream.accepted_at = self._accepted_at
        self._stream.open(head, ready=self._server.ready())

    async def _answer_by(self, work: Awaitable[bytes]) -> None:
        """Answer what is no WebSocket, and close."""
        data = await work
        wire = self.transport.underlying_transport
        if not wire.is_closing():
            end(wire, data)

    def _hand_on(self, data: bytes, client: Socket | None = None) -> None:
        """Give picows bytes that are not in its buffer; `client`'s are looked at as if they came only now."""
        while data:
            view = self.get_buffer(-1)
            count = min(len(view), len(data))
            view[:count] = data[:count]
            data = data[count:]
            if client is None:
                super().buffer_updated(count)
            else:
                self._take(client, count)

    def _too_long(self) -> None:
        self._answered = True
        refusal = Rejected("too_large", f"the head of a request holds at most {MAX_HEAD} bytes")
        end(self.transport.underlying_transport, problem(refusal, {}, status=431))

    def _is_welcome(self, headers: MultiMapping[str]) -> bool:
        """Take the client's own address from a proxy of ours; whether not too many connections came from there."""
        gateway = self._server.gateway
        if self.address not in gateway.proxies:
            return True
        proxy, self.address = self.address, gateway.proxies.client(self.address, headers.getall("x-forwarded-for", []))
        # What it asks in its own name, such as how we are, is not counted.
        return self.address == proxy or gateway.floods.source(self.address).connection()

    def _route(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        if not self._is_welcome(request.headers):
            return _http(429, "text/plain; charset=utf-8", b"too many connections a second", **{"Retry-After": "10"})
        path = request.path.decode("ascii", "replace")
        name = path.partition("?")[0]
        if name != "/ws":
            page = self._server.pages(name)
            return _http(*page) if page else _http(404, "text/plain; charset=utf-8", b"there is /ws here")
        headers = request.headers
        if headers.get("upgrade", "").lower() != "websocket":
            return _http(
                426, "text/plain; charset=utf-8", b"this is a WebSocket: ask for an upgrade", Upgrade="websocket"
            )
        if self._server.gateway.ending:
            why = self._server.gateway.ending.encode()
            return _http(503, "text/plain; charset=utf-8", why, **{"Retry-After": "2"})
        if not self._server.ready():
            return _http(503, "text/plain; charset=utf-8", b"the gateway is starting", **{"Retry-After": "1"})
        # Firefox says `keep-alive, Upgrade`, which RFC 9110 allows and picows does not.
        if "upgrade" in [word.strip().lower() for word in headers.get("connection", "").split(",")]:
            headers["Connection"] = "Upgrade"
        chosen = {"Sec-WebSocket-Protocol": SUBPROTOCOL} if SUBPROTOCOL in offered_protocols(headers) else {}
        self._client = Socket(self._server.gateway, self.address, path, request, self._timer)
        self._client.accepted_at = self._accepted_at
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(chosen), self._client)


def _http(status: int, content_type: str, body: bytes, **headers: str) -> WSUpgradeResponseWithListener:
    response = WSUpgradeResponse()
    response.version = b"HTTP/1.1"
    response.status = HTTPStatus(status)
    response.headers = WSUpgradeResponse.create_ok_response(
        None, {"Content-Type": content_type, "Cache-Control": "no-store", **headers}
    ).headers
    response.body = body
    return WSUpgradeResponseWithListener(response, None)
