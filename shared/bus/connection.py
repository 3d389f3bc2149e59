"""One connection and one channel to RabbitMQ: pipelined confirms, deliveries in bursts, many frames in one write.

Thinner than a general client on purpose (docs/decisions/0002): a connection here has exactly one channel, and whatever
goes wrong on either ends both. Its owner opens another and starts again from what was not acknowledged.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import unquote, urlsplit

from pamqp import commands as amqp
from pamqp import frame as pamqp_frame

from shared.bus import frames
from shared.bus.confirms import Confirms
from shared.bus.frames import Delivery
from shared.errors import Unavailable

CHANNEL = 1
OnDeliveries = Callable[[list[Delivery]], None]


class Connection(asyncio.Protocol):
    """An open connection with its channel. `closed` resolves with the reason once either is lost or closed."""

    def __init__(self, heartbeat: float) -> None:
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.blocked = False
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._frame_max = 131072
        self._answers: list[asyncio.Future[Any]] = []
        self._confirms = Confirms()
        self._outgoing: list[bytes] = []
        self._consumers: dict[str, OnDeliveries] = {}
        self._arrived: dict[str, list[Delivery]] = {}
        self._message: frames.Incoming | None = None
        self._last_received = self._last_sent = self._loop.time()
        self._pulse: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, url: str, *, name: str, heartbeat: int = 10, timeout: float = 5.0) -> Self:
        """Connect, log in and open the channel with confirms, within `timeout` seconds. Raises `Unavailable`."""
        where = urlsplit(url)
        host, tls = where.hostname or "127.0.0.1", where.scheme == "amqps"
        connection = cls(heartbeat)
        try:
            async with asyncio.timeout(timeout):
                await connection._loop.create_connection(
                    lambda: connection,
                    host,
                    where.port or (5671 if tls else 5672),
                    ssl=ssl.create_default_context() if tls else None,
                )
                await connection._log_in(
                    unquote(where.username or "guest"), unquote(where.password or "guest"),
                    unquote(where.path[1:]) or "/", name, heartbeat,
                )  # fmt: skip
        except (OSError, TimeoutError) as error:
            connection._lose(f"no connection to {host}:{where.port or 5672}: {error or 'timed out'}")
            raise Unavailable(connection.closed.result()) from None
        except BaseException as error:  # a caller that gives up leaves no socket behind either
            connection._lose(str(error))
            raise
        return connection

    async def _log_in(self, user: str, password: str, vhost: str, name: str, heartbeat: int) -> None:
        start = self._expect()
        self._write(b"AMQP\x00\x00\x09\x01")
        await start
        tune = await self.call(
            amqp.Connection.StartOk(
                client_properties={
                    "product": "switchyard",
                    "connection_name": f"switchyard {name}",
                    "capabilities": {
                        "publisher_confirms": True,
                        "basic.nack": True,
                        "connection.blocked": True,
                        "consumer_cancel_notify": True,
                        "authentication_failure_close": True,
                    },
                },
                mechanism="PLAIN",
                response=f"\0{user}\0{password}",
                locale="en_US",
            ),
            channel=0,
        )
        self._frame_max = min(tune.frame_max or 131072, 131072)
        self._send(amqp.Connection.TuneOk(1, self._frame_max, heartbeat), channel=0)
        await self.call(amqp.Connection.Open(virtual_host=vhost), channel=0)
        await self.call(amqp.Channel.Open())
        await self.call(amqp.Confirm.Select())
        self._beat()

    async def close(self) -> None:
        """Say goodbye and close; whatever was not confirmed or acknowledged is the broker's again."""
        if self.closed.done():
            return
        try:
            async with asyncio.timeout(2):
                await self.call(
                    amqp.Connection.Close(reply_code=200, reply_text="bye", class_id=0, method_id=0), channel=0
                )
        except (TimeoutError, Unavailable):
            pass  # it is closed in any case
        self._lose("closed")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _lose(self, reason: str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        if self._pulse:
            self._pulse.cancel()
        if self._transport:
            self._transport.abort()
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(Unavailable(reason))
        self._answers.clear()
        self._confirms.lost(reason)

    def send(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        message_id: str = "",
        mandatory: bool = True,
        **properties: Any,
    ) -> asyncio.Future[None]:
        """Publish; the future resolves at the broker's confirm.

        It fails with `Unavailable` (refused: certainly not kept), `Unconfirmed` (lost before the confirm) or
        `Unroutable`. Properties are those of `frames.publish_frames`.
        """
        confirm: asyncio.Future[None] = self._loop.create_future()
        if self.closed.done():
            confirm.set_exception(Unavailable(self.closed.result()))
            return confirm
        data = frames.publish_frames(
            CHANNEL,
            self._frame_max,
            exchange,
            routing_key,
            body,
            mandatory=mandatory,
            message_id=message_id,
            **properties,
        )
        self._confirms.expect(confirm, exchange, routing_key, message_id)
        self._queue(data)
        return confirm

    async def consume(
        self,
        queue: str,
        on_deliveries: OnDeliveries,
        *,
        prefetch: int = 0,
        no_ack: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a consumer; `on_deliveries` gets all messages that arrived in one read together. Returns its tag."""
        if prefetch:
            await self.call(amqp.Basic.Qos(prefetch_count=prefetch))
        tag = f"{queue}-{len(self._consumers)}"
        # Before the broker's answer, since the first deliveries may come in the same read.
        self._consumers[tag] = on_deliveries
        await self.call(
            amqp.Basic.Consume(queue=queue, consumer_tag=tag, no_ack=no_ack, arguments=dict(arguments or {}))
        )
        return tag

    async def cancel(self, tag: str) -> None:
        """Stop a consumer; what it has not acknowledged stays its own until the connection closes."""
        await self.call(amqp.Basic.Cancel(consumer_tag=tag))

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Acknowledge a delivery, or every one up to it. On a lost connection this does nothing: it comes again."""
        if not self.closed.done():
            self._queue(frames.ack_frame(CHANNEL, delivery_tag, multiple=multiple))

    async def call(self, method: Any, *, channel: int = CHANNEL) -> Any:
        """Send a method and return the broker's answer to it. Raises `Unavailable` when the connection ends instead."""
        answer = self._expect()
        self._send(method, channel=channel)
        return await answer

    def _expect(self) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.closed.done():
            answer.set_exception(Unavailable(self.closed.result()))
        else:
            self._answers.append(answer)
        return answer

    def _send(self, method: Any, *, channel: int) -> None:
        self._queue(pamqp_frame.marshal(method, channel))

    def _queue(self, data: bytes) -> None:
        # Everything of one turn of the loop goes out in one write.
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport and not self.closed.done():
            self._last_sent = self._loop.time()
            self._transport.write(data)

    def _beat(self) -> None:
        now = self._loop.time()
        if now - self._last_received > 2 * self._heartbeat:
            self._lose(f"the broker has been silent for {now - self._last_received:.0f} s")
            return
        if now - self._last_sent >= self._heartbeat / 2:
            self._write(frames.heartbeat_frame())
        self._pulse = self._loop.call_later(self._heartbeat / 2, self._beat)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._lose(f"the broker closed the connection{f': {error}' if error else ''}")

    def data_received(self, data: bytes) -> None:
        """Read whole frames; a part of one waits for the rest."""
        self._last_received = self._loop.time()
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        while end - at >= frames.FRAME_OVERHEAD:
            kind, _, size = frames.FRAME_HEADER.unpack_from(buffer, at)
            stop = at + 7 + size
            if stop >= end:
                break
            payload = buffer[at + 7 : stop]
            if kind in (frames.BODY, frames.HEADER):
                self._on_content(kind, payload)
            elif kind == frames.METHOD:
                self._on_method(payload, buffer[at : stop + 1])
            at = stop + 1
        self._rest = buffer[at:]
        if self._arrived:
            arrived, self._arrived = self._arrived, {}
            for tag, deliveries in arrived.items():
                self._consumers[tag](deliveries)

    def _on_method(self, payload: bytes, whole: bytes) -> None:
        kind = frames.method_id(payload)
        if kind == frames.DELIVER:
            consumer, delivery = frames.read_deliver(payload)
            self._message = frames.Incoming(delivery, consumer=consumer)
        elif kind in (frames.ACK, frames.NACK):
            number, multiple = frames.read_confirm(payload)
            self._confirms.settle(number, multiple=multiple, refused=kind == frames.NACK)
        elif kind == frames.RETURN:
            reason, delivery = frames.read_return(payload)
            self._message = frames.Incoming(delivery, reason=reason)
        else:
            self._on_rare_method(pamqp_frame.unmarshal(whole)[2])

    def _on_rare_method(self, method: Any) -> None:
        if isinstance(method, amqp.Connection.Close | amqp.Channel.Close):
            self._lose(f"the broker ended it: {method.reply_code} {method.reply_text}")
        elif isinstance(method, amqp.Basic.Cancel):
            self._lose(f"the broker cancelled the consumer {method.consumer_tag}")
        elif isinstance(method, amqp.Connection.Blocked):
            self.blocked = True
        elif isinstance(method, amqp.Connection.Unblocked):
            self.blocked = False
        elif self._answers:
            answer = self._answers.pop(0)
            if not answer.done():
                answer.set_result(method)

    def _on_content(self, kind: int, payload: bytes) -> None:
        message = self._message
        assert message is not None
        complete = message.header(payload) if kind == frames.HEADER else message.body(payload)
        if complete:
            self._message = None
            if message.consumer is None:
                self._confirms.returned(message.reason, message.delivery)
            else:
                self._arrived.setdefault(message.consumer, []).append(message.delivery)
