"""A client's WebSocket on picows: messages put together, the closing handshake kept."""

import asyncio
import socket
import time
from collections.abc import Callable

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest

from services.ws_gateway.client import BROKEN, MAX_FRAME, TOO_LARGE, Client
from services.ws_gateway.door.access import Refused, check_origin, shown_token
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.stream.frames import error
from services.ws_gateway.wire.sizes import PROTOCOL_ERROR
from shared.errors import invalid
from shared.logs import get_logger

# What a close frame without a code counts as.
NO_STATUS = 1005
# How long a client may take to answer a close frame; it may have to read what lies before it.
CLOSING_SECONDS = 10.0
# The same for one that broke the protocol.
FAILING_SECONDS = 1.0
# The transport's own buffer: above the one the client counts as slow, below the other no longer.
HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024
# The kernel's, which would otherwise grow to megabytes for a client that does not read.
SEND_BUFFER = 256 * 1024

log = get_logger()


class Socket(WSListener):
    """A client's WebSocket: puts messages together and keeps the closing handshake. It is the client's `Link`."""

    def __init__(
        self, gateway: Gateway, address: str, path: str, request: WSUpgradeRequest, timer: asyncio.TimerHandle | None
    ) -> None:
        self.address = address
        # On the monotonic clock, as the server knows it.
        self.accepted_at = time.monotonic()
        self.write: Callable[[bytes], None] = _nowhere
        self._gateway = gateway
        self._path = path
        self._request: WSUpgradeRequest | None = request
        self._timer = timer
        self._client: Client | None = None
        self._transport: WSTransport | None = None
        self._closing = False
        self._parts: list[bytes] = []
        self._is_text = True

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        if self._timer:
            self._timer.cancel()
        self._transport = transport
        wire = transport.underlying_transport
        wire.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        # aiofastnet's `write` checks its argument first, which costs as much again; ours is always bytes.
        self.write = getattr(wire, "write_nocheck", wire.write)
        request, self._request = self._request, None
        assert request is not None
        try:
            client = self._client = self._gateway.connect(self)
        except Refused as refused:
            self._gateway.metrics.refused.labels(str(refused.code)).inc()
            log.info("client_refused", address=self.address, code=refused.code, reason=refused.reason)
            self._gateway.audit.note("refuse", None, self.address, str(refused.code))
            self.close(refused.code, refused.reason)
            return
        try:
            check_origin(request.headers.get("origin"), self._gateway.origins)
            client.entrance.open(shown_token(self._path, request.headers))
        except Refused as refused:
            client.refuse(refused)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame has come."""
        try:
            self._on_frame(transport, frame)
        except Exception as fault:
            log.error("client_frame_failed", address=self.address, exc_info=fault)
            self.fail(BROKEN, "the gateway made a mistake; resume from cursor")

    def _on_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind, client = frame.msg_type, self._client
        if kind == WSMsgType.CLOSE:
            self._on_close(transport, frame)
        elif client is None or self._closing or not client.answers.counted():
            return
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            client.was_answered()
        elif kind == WSMsgType.PONG:
            client.ponged(frame.get_payload_as_bytes())
        elif (kind == WSMsgType.CONTINUATION) != bool(self._parts):
            self.fail(PROTOCOL_ERROR, "a fragment is out of order")
        else:
            if kind != WSMsgType.CONTINUATION:
                self._is_text = kind == WSMsgType.TEXT
            self._on_data(client, frame)

    def _on_data(self, client: Client, frame: WSFrame) -> None:
        text = frame.get_payload_as_bytes()
        if self._parts or not frame.fin:
            # An empty first fragment still opens a message.
            self._parts.append(text)
            if sum(map(len, self._parts)) > MAX_FRAME or len(self._parts) > MAX_FRAME // 16:
                self.fail(TOO_LARGE, f"a message holds at most {MAX_FRAME} bytes")
                return
            if not frame.fin:
                return
            text = b"".join(self._parts)
            self._parts.clear()
        if self._is_text:
            client.answers.said(text)
        else:
            client.send(error(invalid("messages are text frames")))

    def _on_close(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self._closing:
            # Nothing is heard or written behind the close frames (RFC 6455 §5.5.1).
            self._closing = True
            answer = _answer_to(frame)
            code = int(frame.get_close_code())  # type: ignore[call-overload]
            if self._client:
                self._client.close(code or NO_STATUS, "")
            transport.send_close(answer)
        transport.disconnect()

    def fail(self, code: int, reason: str) -> None:
        """Something came that can't be taken."""
        if self._client is None or self._closing:
            return
        self._client.close(code, reason)
        if code == PROTOCOL_ERROR and self._transport:
            # Where its frames begin and end is not known any more, so its close frame may never be seen.
            self._abort_in(FAILING_SECONDS, self._transport)

    def _abort_in(self, seconds: float, transport: WSTransport) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, transport.underlying_transport.abort)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is closed."""
        self._closing = True
        if self._timer:
            self._timer.cancel()
        handshake = transport.close_handshake
        said = handshake and (handshake.recv or handshake.sent)
        if self._client:
            self._client.gone(int(said.code) if said else 1006)  # type: ignore[call-overload]
        # They lead back here.
        self._client = self._transport = None

    def pause_writing(self) -> None:
        """The transport's buffer is over the high-water mark."""
        if self._client:
            self._client.full()

    def resume_writing(self) -> None:
        """The transport's buffer is below the low-water mark."""
        if self._client:
            self._client.drained()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what waits, then close."""
        transport = self._transport
        if self._closing or transport is None:
            return
        self._closing = True
        transport.send_close(code, reason.encode()[:120])  # type: ignore[arg-type]
        self._abort_in(CLOSING_SECONDS, transport)

    def buffered(self) -> int:
        """How many bytes the system has not taken yet."""
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return 0
        return int(transport.underlying_transport.get_write_buffer_size())

    def hold(self, *, held: bool) -> None:
        """Stop reading what the client sends, or go on."""
        if self._transport and not self._transport.is_disconnected:
            wire = self._transport.underlying_transport
            if held:
                wire.pause_reading()
            else:
                wire.resume_reading()


def _answer_to(frame: WSFrame) -> WSCloseCode:
    """The code to answer a close frame with: its own, if that may be sent at all (RFC 6455 §7.4)."""
    code = frame.get_close_code()
    if frame.payload_size == 0:
        return WSCloseCode.OK
    if code == WSCloseCode.NO_INFO:
        # picows knows a code 0, the RFC does not.
        return WSCloseCode.PROTOCOL_ERROR
    return WSCloseCode.PROTOCOL_ERROR if code == WSCloseCode.ABNORMAL_CLOSURE else code


def _nowhere(data: bytes) -> None:
    """Where bytes go before the handshake is done."""
