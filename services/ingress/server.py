"""The HTTP server: uvicorn with limits of its own on heads, on time and on connections.

uvicorn by itself waits for ever for the rest of a head or a body. Here each connection notes since when it owes us
something, and one sweep over all of them, twice a second, closes those that are late. That is cheaper than a timer for
each request, and replaces uvicorn's keep-alive timers too.
"""

import contextlib
import resource
import signal
from asyncio import AbstractEventLoop, Transport, get_running_loop
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import httptools
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from shared.logs import get_logger

# From the first byte of a request (or the connection's beginning) to the end of its head.
HEAD_SECONDS = 5.0
# A body may take this long, and a second more for each BODY_BYTES_A_SECOND of it that has come, up to the cap.
BODY_SECONDS = 10.0
BODY_BYTES_A_SECOND = 20_000
BODY_CAP_SECONDS = 90.0
IDLE_SECONDS = 60.0
STALLED_SECONDS = 20.0
MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
_SWEEP_EVERY_TICKS = 5
# File descriptors kept for everything else: broker, spool, logs.
_RESERVED_FILES = 100
_MAX_CONNECTIONS = 10_000

log = get_logger()


class Phase(IntEnum):
    """What a connection is at."""

    NEW = 0
    HEAD = 1
    BODY = 2
    WORK = 3
    IDLE = 4


class DoorProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the head bounded and the phase of the connection noted."""

    max_connections = _MAX_CONNECTIONS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.phase = Phase.NEW
        self.since = 0.0
        self.stalled_since = 0.0
        # Bytes of an unfinished head, and those with whatever came in one read with its end.
        self._head_bytes = 0
        self._fed = 0
        # Requests that began in the read at hand.
        self._begun = 0
        self.body_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A connection beyond the limit is closed at once."""
        super().connection_made(transport)
        self.since = self.loop.time()
        if len(self.connections) > self.max_connections:
            self.refuse(b"503 Service Unavailable", b"retry-after: 2\r\n")

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, with the size of an unfinished head bounded."""
        self._fed = self._head_bytes + len(data)
        self._begun = 0
        phase = self.phase
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # no upgrades here: the request is answered as HTTP/1.1
        except httptools.HttpParserError:
            self.refuse(b"400 Bad Request")
            return
        if self.phase == Phase.HEAD:
            # A head that began behind another request, in the same read, is counted from the next read on.
            if self._begun == 0 or (self._begun == 1 and phase in (Phase.NEW, Phase.IDLE)):
                self._head_bytes = self._fed
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """The first byte of a request: its head is owed from now on."""
        super().on_message_begin()
        self.phase = Phase.HEAD
        self.since = self.loop.time()
        self._head_bytes = self.body_bytes = 0
        self._begun += 1

    def on_headers_complete(self) -> None:
        """The head is whole; its body is owed now."""
        headers = self.headers
        # Most heads come within one small read, and need not be measured.
        size = self._fed if self._fed <= MAX_HEAD_BYTES else len(self.url) + sum(len(n) + len(v) for n, v in headers)
        if len(headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
            self.refuse(b"431 Request Header Fields Too Large")
            return
        self.phase = Phase.BODY
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, counted."""
        if self.transport.is_closing():
            return
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; from now on it is we who owe."""
        if self.transport.is_closing():
            return
        self.phase = Phase.IDLE if self.cycle.response_complete else Phase.WORK
        self.since = self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, without a timer: an idle connection is the sweep's affair."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.phase == Phase.WORK:
            self.phase = Phase.IDLE
            self.since = self.loop.time()

    def pause_writing(self) -> None:
        """The client does not take our answer; the sweep looks how long."""
        self.stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client takes it again."""
        self.stalled_since = 0.0
        super().resume_writing()

    def refuse(self, status: bytes, headers: bytes = b"") -> None:
        """Answer without a body (Campfire would post one into the room) and close."""
        if self._is_answering:
            # What came before the nonsense was a good request: it gets its answer, and the connection ends with that.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        elif not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                self.transport.write(
                    b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n" + headers + b"connection: close\r\n\r\n"
                )
            self.transport.close()

    @property
    def _is_answering(self) -> bool:
        """Whether a whole request came and is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete and self.phase != Phase.BODY

    def check_deadline(self, now: float) -> None:
        """Close the connection if it is late with what it owes."""
        age = now - self.since
        if self.stalled_since and now - self.stalled_since > STALLED_SECONDS:
            self.transport.abort()
        elif self.phase in (Phase.NEW, Phase.HEAD):
            if age > HEAD_SECONDS and not self._is_answering:
                self.refuse(b"408 Request Timeout")
        elif self.phase == Phase.BODY:
            # While we are not reading, the sender can't be late.
            allowed = min(BODY_SECONDS + self.body_bytes / BODY_BYTES_A_SECOND, BODY_CAP_SECONDS)
            if age > allowed and not self.flow.read_paused:
                self.refuse(b"408 Request Timeout")
        elif self.phase == Phase.IDLE and age > IDLE_SECONDS:
            self.transport.close()


class DoorServer(Server):
    """uvicorn's server, ended by our own signal handling and sweeping its connections."""

    def __init__(self, config: Config, *, on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT; uvicorn would raise them again afterwards, and the exit status would not be 0."""
        loop = get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        log.info("listening", url=f"http://{self.config.host}:{self.config.port}")

    def stop(self) -> None:
        """Take no more connections, finish what is in hand, end."""
        if not self.should_exit:
            self.should_exit = True
            self._on_stopping()

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's ten ticks a second; every fifth sweeps the connections."""
        if counter % _SWEEP_EVERY_TICKS == 0:
            now = get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, DoorProtocol):
                    connection.check_deadline(now)
        return await super().on_tick(counter)


async def send_answer(send: Any, status: int, headers: bytes, body: bytes) -> None:
    """Send a whole answer; `headers` are lines, each with its end.

    Head and body go out in one write: uvicorn makes two of them, and looks for forbidden bytes in each header, which
    together is a sixth of a small request. Any other server's `send` is used as ASGI says.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
        pairs = [tuple(line.split(b": ", 1)) for line in headers.split(b"\r\n") if line]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})
        return
    if cycle.disconnected:
        return
    parts = [STATUS_LINE[status]]
    for name, value in cycle.default_headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(headers)
    if not cycle.keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def make_server(app: Any, host: str, port: int, *, on_stopping: Callable[[], None]) -> DoorServer:
    """A server for an ASGI application; raises this process's limit of open files as far as it may."""
    DoorProtocol.max_connections = min(_MAX_CONNECTIONS, _open_files() - _RESERVED_FILES)
    config = Config(
        app,
        host=host,
        port=port,
        http=DoorProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
        timeout_graceful_shutdown=10,
    )
    return DoorServer(config, on_stopping=on_stopping)


def _open_files() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_CONNECTIONS + _RESERVED_FILES
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
