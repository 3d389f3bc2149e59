"""A small HTTP/1.1 server for stand-ins, which can do what a good server never would: fall silent, cut a body off."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

import h11

T = TypeVar("T")

MAX_BODY = 32 * 1024 * 1024
PATIENCE = 10.0


class Exchange:
    """One request, and the way back to whoever sent it.

    Either `reply`, or `begin`, `send` as often as wanted, and `end`; or `cut`, at any moment.
    """

    def __init__(self, request: h11.Request, body: bytes, wire: h11.Connection, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(request.target.decode())
        self.method = request.method.decode()
        self.path = target.path
        self.query = dict(parse_qsl(target.query))
        self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in request.headers}
        self.body = body
        self._wire = wire
        self._writer = writer

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is not."""
        return json.loads(self.body)

    async def reply(self, status: int, body: bytes | str = b"", **headers: str) -> None:
        """A whole answer; header names with `_` for `-`. Without a body there is no Content-Type."""
        data = body.encode() if isinstance(body, str) else body
        await self.begin(status, content_length=str(len(data)), **headers)
        await self.send(data)
        await self.end()

    async def reply_json(self, status: int, value: Any, **headers: str) -> None:
        """A whole answer in JSON."""
        await self.reply(status, json.dumps(value, ensure_ascii=False), content_type="application/json", **headers)

    async def begin(self, status: int, **headers: str) -> None:
        """The head of an answer. Without a Content-Length the body goes out in chunks as it comes."""
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await self._write(h11.Response(status_code=status, headers=pairs))

    async def send(self, data: bytes) -> None:
        """A part of the body, at once."""
        if data and self.method != "HEAD":
            await self._write(h11.Data(data=data))

    async def end(self) -> None:
        """The body is whole."""
        await self._write(h11.EndOfMessage())

    def cut(self) -> None:
        """Reset the connection, whatever was promised."""
        self._writer.transport.abort()

    async def _write(self, event: h11.Event) -> None:
        if data := self._wire.send(event):
            self._writer.write(data)
            await self._writer.drain()


class Server:
    """Serves on a port of the loopback, in a thread with an event loop of its own, while the block lasts.

    `port` 0: a free one. Subclasses answer each request in `answer`, which is cancelled when the client goes away.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)

    @property
    def url(self) -> str:
        """Where it is found."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def listen(self) -> None:
        """Take connections, again after `refuse` on the same port."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Drop every connection and refuse new ones, as a server does that is down."""
        self._run(self._refuse())

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        raise NotImplementedError

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it in the server's loop; returns what it returns."""
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(PATIENCE)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in (connections := list(self._connections)):
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _close(self) -> None:
        """The last thing that runs in the loop."""
        await self._loop.shutdown_asyncgens()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            wire = h11.Connection(h11.SERVER)
            while await self._one(wire, reader, writer):
                wire.start_next_cycle()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            pass  # the client has gone, or speaks something else, or we are closing
        finally:
            self._connections.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _one(self, wire: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection has no more to give."""
        head = await _next(wire, reader, writer)
        if not isinstance(head, h11.Request):
            return False
        body = bytearray()
        while isinstance(part := await _next(wire, reader, writer), h11.Data):
            if len(body) > MAX_BODY:
                return False
            body += part.data
        exchange = Exchange(head, bytes(body), wire, writer)
        answering = asyncio.create_task(self.answer(exchange))
        watching = asyncio.create_task(_until_gone(wire, reader))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            gone = watching.done()
        finally:
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
        if not answering.cancelled() and (error := answering.exception()) and not isinstance(error, OSError):
            raise error
        return not gone and wire.our_state is h11.DONE and wire.their_state is h11.DONE and not writer.is_closing()


async def _next(wire: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> object:
    while (event := wire.next_event()) is h11.NEED_DATA:
        if wire.they_are_waiting_for_100_continue:
            writer.write(wire.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        wire.receive_data(await reader.read(65536))
    return event


async def _until_gone(wire: h11.Connection, reader: asyncio.StreamReader) -> None:
    """Return when the client has closed; what it sends meanwhile is its next request."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            wire.receive_data(data)
