"""Other encodings of what the hub writes: compressed messages, server-sent events. Free of I/O.

The hub writes whole, unmasked WebSocket frames, several of them joined in one bytes object, and the same object to
every connection in turn. So a wire remembers the last object it was given, and encodes it once for all who take it.
"""

import re
import zlib
from collections.abc import Callable, Iterator

import msgspec

from services.ws_gateway.stream.frames import binary_frame
from shared.limits import Bucket
from shared.messages import encode

Write = Callable[[bytes], None]

# Messages above this are compressed; below it the work saves less than it costs.
DEFLATE_FROM = 4 * 1024
# The fastest: it takes 12 ms for 1 MB, and a level more than that buys 1 %.
LEVEL = 1
# What is compressed of all connections' messages, in bytes a second and at once: a quarter of the loop's time, 50 ms.
# Beyond it messages stay as they are, so that many catching up at once don't stall everybody.
RATE, AT_ONCE = 20_000_000, 4_000_000

_TEXT = 1
# As `event_frame` and `overtaking` end an event.
_PLACE = re.compile(rb'[,{]"cursor":(\d+)(?:,"since":(-?\d+))?\}\Z')
_PLACE_BYTES = 64
# What says how to go on by WebSocket says nothing in a stream.
_GREETINGS = (b'{"type":"connected",', b'{"type":"subscribed",')
_OF_SOCKETS = ("resume_token", "heartbeat_s")
_SUBSCRIBED = re.compile(rb'\{"type":"subscribed",.*?"cursor":(-?\d+)[,}]')


class Wire:
    """An encoding with the last object it was given, and what that became."""

    __slots__ = ("_encode", "_given", "_made")

    def __init__(self, encode: Callable[[bytes], bytes]) -> None:
        self._encode = encode
        self._given = self._made = b""

    def to(self, write: Write, above: int = 0) -> Write:
        """A write method that hands what it is given on to `write`, encoded; up to `above` bytes as they are."""

        def encoded(data: bytes) -> None:
            if len(data) <= above:
                write(data)
                return
            if data is not self._given:
                self._made = self._encode(data)
                self._given = data
            write(self._made)

        return encoded


class Wires:
    """The encodings that the connections of a gateway share."""

    def __init__(self) -> None:
        self._deflate = Wire(Deflate())
        self._events = Wire(event_chunk)

    def deflated(self, write: Write) -> Write:
        """Frames with large text messages compressed; those must be whole."""
        return self._deflate.to(write, above=DEFLATE_FROM)

    def events(self, write: Write) -> Write:
        """Frames as server-sent events, in a chunk of HTTP/1.1."""
        return self._events.to(write)


def frames(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The frames in bytes: opcode, where each begins, where its payload begins, where it ends."""
    at, end = 0, len(data)
    while at < end:
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        yield data[at] & 0x0F, at, start, start + size
        at = start + size


class Deflate:
    """Text messages above `DEFLATE_FROM` bytes as binary ones that hold them in the zlib format (RFC 1950).

    What would not be smaller stays text, and so does what comes when too much was compressed of late.
    """

    def __init__(self) -> None:
        self._spare = Bucket(RATE, AT_ONCE)

    def __call__(self, data: bytes) -> bytes:
        """The frames, each as text or compressed."""
        view = memoryview(data)
        parts: list[bytes | memoryview] = []
        kept = 0
        for opcode, begin, start, end in frames(data):
            if opcode != _TEXT or end - start <= DEFLATE_FROM or not self._spare.take(count=end - start):
                continue
            packed = zlib.compress(view[start:end], LEVEL)
            if len(packed) < end - start:
                parts += (view[kept:begin], binary_frame(packed))
                kept = end
        if not kept:
            return data
        parts.append(view[kept:])
        return b"".join(parts)


def event_chunk(data: bytes) -> bytes:
    """The text messages as server-sent events, in one chunk (RFC 9112 §7.1); empty when there are none."""
    return chunk(b"".join([event(data[start:end]) for opcode, _, start, end in frames(data) if opcode == _TEXT]))


def event(text: bytes) -> bytes:
    """A message as a server-sent event. Its id is the cursor from which to resume once it has come, if it has one."""
    number = _place(text)
    if text.startswith(_GREETINGS):
        greeting = msgspec.json.decode(text)
        text = encode({name: value for name, value in greeting.items() if name not in _OF_SOCKETS})
    if b"\n" in text or b"\r" in text:
        text = b"\ndata: ".join(text.splitlines())
    return b"data: %b\n\n" % text if number is None else b"id: %b\ndata: %b\n\n" % (number, text)


def chunk(body: bytes) -> bytes:
    """A chunk of an HTTP/1.1 body; nothing for nothing, which would end it."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


def _place(text: bytes) -> bytes | None:
    if place := _PLACE.search(text, max(0, len(text) - _PLACE_BYTES)):
        return place[2] or place[1]
    place = _SUBSCRIBED.match(text)
    return place[1] if place else None
