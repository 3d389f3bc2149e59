"""A minimal AMQP 0-9-1 publisher: prebuilt bytes, pipelined confirms, joined writes. A limit, not a product."""

from __future__ import annotations

import asyncio
import struct
from typing import cast
from urllib.parse import unquote, urlsplit

from pamqp import commands, frame
from pamqp.header import ProtocolHeader

PERSISTENT_JSON = struct.pack(">H", 0x9000) + b"\x10application/json" + b"\x02"  # content_type, delivery_mode
END = b"\xce"


class Publisher(asyncio.Protocol):
    """One connection with one confirming channel; `publish` returns a future that the broker's confirm resolves."""

    def __init__(self) -> None:
        self.data = b""
        self.outgoing: list[bytes] = []
        self.unconfirmed: dict[int, asyncio.Future[bool]] = {}
        self.sent = self.confirmed = 0
        self.methods: asyncio.Queue[object] = asyncio.Queue()

    @classmethod
    async def open(cls, url: str) -> Publisher:
        """Connect to `amqp://user:password@host:port/vhost`."""
        place = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, self = await loop.create_connection(cls, place.hostname or "", place.port or 5672)
        user, password = unquote(place.username or "guest"), unquote(place.password or "guest")
        self.transport.write(ProtocolHeader().marshal())
        await self.expect(commands.Connection.Start)
        self.send(0, commands.Connection.StartOk({}, "PLAIN", f"\0{user}\0{password}", "en_US"))
        tune = await self.expect(commands.Connection.Tune)
        self.send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self.send(0, commands.Connection.Open(unquote(place.path[1:]) or "/"))
        await self.expect(commands.Connection.OpenOk)
        self.send(1, commands.Channel.Open())
        await self.expect(commands.Channel.OpenOk)
        self.send(1, commands.Confirm.Select())
        await self.expect(commands.Confirm.SelectOk)
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def send(self, channel: int, method: frame.FrameTypes) -> None:
        self.transport.write(frame.marshal(method, channel))

    async def call(self, method: frame.FrameTypes, reply: type) -> object:
        """Send a method on the channel and return the broker's reply to it."""
        self.send(1, method)
        return await self.expect(reply)

    async def expect(self, kind: type):  # type: ignore[no-untyped-def]
        method = await asyncio.wait_for(self.methods.get(), 10)
        if not isinstance(method, kind):
            raise ConnectionError(f"expected {kind.__name__}, the broker sent {method}")
        return method

    def publish(self, prefix: bytes, body: bytes) -> asyncio.Future[bool]:
        """Send one persistent JSON message of up to 128 kB; `prefix` comes from `publish_frame`."""
        size = len(body)
        head = struct.pack(">HHQ", 60, 0, size) + PERSISTENT_JSON
        if not self.outgoing:
            asyncio.get_running_loop().call_soon(self.flush)
        self.outgoing += (
            prefix,
            struct.pack(">BHI", 2, 1, len(head)),
            head,
            END,
            struct.pack(">BHI", 3, 1, size),
            body,
            END,
        )
        self.sent += 1
        future = self.unconfirmed[self.sent] = asyncio.get_running_loop().create_future()
        return future

    def flush(self) -> None:
        self.transport.write(b"".join(self.outgoing))
        self.outgoing.clear()

    def data_received(self, data: bytes) -> None:
        data = self.data + data
        at, size = 0, len(data)
        while size - at >= 7:
            end = at + 8 + int.from_bytes(data[at + 3 : at + 7], "big")
            if size < end:
                break
            if data[at] == 1 and data[at + 7 : at + 11] == b"\x00\x3c\x00\x50":  # basic.ack
                self.on_ack(int.from_bytes(data[at + 11 : at + 19], "big"), data[at + 19] & 1 == 1)
            elif data[at] == 1:
                self.methods.put_nowait(frame.unmarshal(data[at:end])[2])
            at = end
        self.data = data[at:]

    def on_ack(self, tag: int, multiple: bool) -> None:
        for one in range(self.confirmed + 1, tag + 1) if multiple else (tag,):
            future = self.unconfirmed.pop(one, None)
            if future and not future.done():
                future.set_result(True)
        if multiple:
            self.confirmed = tag

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self.unconfirmed.values():
            if not future.done():
                future.set_exception(ConnectionError("the broker hung up"))

    def close(self) -> None:
        self.transport.close()


def publish_frame(exchange: str, routing_key: str) -> bytes:
    """The basic.publish frame of one destination, built once."""
    return frame.marshal(commands.Basic.Publish(exchange=exchange, routing_key=routing_key), 1)
