"""RFC 6455, case by case, under the numbers of the Autobahn test suite.

Where the suite awaits an echo, the gateway answers each message with a frame of its own: what counts is that a message
is taken, and how the connection ends. Sizes and numbers are cut to what the gateway takes: 64 KiB a message, 200 frames
at once.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.integration.ws_gateway.processes import GatewayProcess, token

pytestmark = pytest.mark.anyio

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HELLO = b"Hello, world!"
LIMIT = 65_536
# What is expected before the connection ends: the payload of a pong, or that a message was answered.
MESSAGE = None
Answer = bytes | None


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = None) -> bytes:
    """A frame as a client sends it."""
    size = len(payload)
    first = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        head = first + bytes([0x80 | size])
    elif size < 65_536:
        head = first + b"\xfe" + size.to_bytes(2, "big")
    else:
        head = first + b"\xff" + size.to_bytes(8, "big")
    mask = os.urandom(4) if mask is None else mask
    long_mask = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ long_mask).to_bytes(size, "big")


def closing(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def message(opcode: int, *parts: bytes) -> list[bytes]:
    """A message in fragments."""
    last = len(parts) - 1
    return [frame(CONTINUATION if at else opcode, part, fin=at == last) for at, part in enumerate(parts)]


def pieces(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]


def octets(*frames: bytes, size: int = 1) -> list[bytes]:
    """The same bytes in small pieces."""
    return pieces(b"".join(frames), size)


@dataclass(frozen=True)
class Case:
    """What is sent, each piece by itself, and what comes back.

    `code` is that of the gateway's close frame, one of these. `closes` says that the client closes politely at the end;
    otherwise the gateway fails the connection, or the pieces hold the client's close frame themselves.
    """

    sent: list[bytes]
    answers: list[Answer] = field(default_factory=list)
    code: tuple[int, ...] = (1000,)
    closes: bool = True


def fails(sent: list[bytes], *answers: Answer, code: int = 1002) -> Case:
    return Case(sent, list(answers), (code,), closes=False)


def ends(*sent: bytes, code: int | tuple[int, ...] = 1000, answers: Iterable[Answer] = ()) -> Case:
    """The pieces hold the client's close frame."""
    return Case([b"".join(sent)], list(answers), code if isinstance(code, tuple) else (code,), closes=False)


def framing() -> Iterator[tuple[str, Case]]:
    for kind, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for number, size in enumerate((0, 125, 126, 127, 128, 65_535, 65_536), 1):
            yield f"1.{kind}.{number}", Case([frame(opcode, byte * size)], [MESSAGE])
        yield f"1.{kind}.8", Case(octets(frame(opcode, byte * 65_536), size=997), [MESSAGE])


def pings() -> Iterator[tuple[str, Case]]:
    binary = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    for number, payload in enumerate((b"", HELLO, binary, b"\xfe" * 125), 1):
        yield f"2.{number}", Case([frame(PING, payload)], [payload])
    yield "2.5", fails([frame(PING, b"\xfe" * 126)])
    yield "2.6", Case(octets(frame(PING, b"\xfe" * 125)), [b"\xfe" * 125])
    yield "2.7", Case([frame(PONG)])
    yield "2.8", Case([frame(PONG, b"unsolicited")])
    yield "2.9", Case([frame(PONG, b"unsolicited"), frame(PING, b"asked")], [b"asked"])
    ten = [b"payload-%d" % number for number in range(10)]
    yield "2.10", Case([frame(PING, payload) for payload in ten], [*ten])
    yield "2.11", Case(octets(*(frame(PING, payload) for payload in ten)), [*ten])


def reserved_bits() -> Iterator[tuple[str, Case]]:
    def around(rsv: int) -> list[bytes]:
        return [frame(TEXT, HELLO), frame(TEXT, HELLO, rsv=rsv), frame(PING)]

    yield "3.1", fails([frame(TEXT, HELLO, rsv=1)])
    yield "3.2", fails([b"".join(around(2))], MESSAGE)
    yield "3.3", fails(around(3), MESSAGE)
    yield "3.4", fails(octets(*around(4)), MESSAGE)
    yield "3.5", fails([frame(BINARY, b"\x00\xff\xfe", rsv=5)])
    yield "3.6", fails([frame(PING, HELLO, rsv=6)])
    yield "3.7", fails([frame(CLOSE, rsv=7)])


def reserved_opcodes() -> Iterator[tuple[str, Case]]:
    for kind, first in ((1, 3), (2, 11)):
        yield f"4.{kind}.1", fails([frame(first)])
        yield f"4.{kind}.2", fails([frame(first + 1, b"reserved")])
        for number, payload in ((3, b""), (4, HELLO), (5, HELLO)):
            sent = [frame(TEXT, HELLO), frame(first + number - 1, payload), frame(PING)]
            yield f"4.{kind}.{number}", fails(octets(*sent) if number == 5 else [b"".join(sent)], MESSAGE)


def fragments() -> Iterator[tuple[str, Case]]:
    two, ping = message(TEXT, b"fragment1", b"fragment2"), frame(PING, b"ping payload")
    between = [two[0], ping, two[1]]
    yield "5.1", fails([frame(PING, b"1", fin=False), frame(CONTINUATION, b"2")])
    yield "5.2", fails([frame(PONG, b"1", fin=False), frame(CONTINUATION, b"2")])
    for number, (sent, answers) in enumerate(((two, [MESSAGE]), (between, [b"ping payload", MESSAGE]))):
        yield f"5.{3 + 3 * number}", Case([b"".join(sent)], [*answers])
        yield f"5.{4 + 3 * number}", Case(sent, [*answers])
        yield f"5.{5 + 3 * number}", Case(octets(*sent), [*answers])
    for number, fin in ((9, True), (12, False)):
        lonely = [frame(CONTINUATION, b"nothing to continue", fin=fin), frame(TEXT, HELLO)]
        yield f"5.{number}", fails([b"".join(lonely)])
        yield f"5.{number + 1}", fails(lonely)
        yield f"5.{number + 2}", fails(octets(*lonely))
    rest = [frame(CONTINUATION, b"3", fin=False), frame(TEXT, b"4")]
    yield "5.15", fails([b"".join([*two, *rest])], MESSAGE)
    for number, fin in ((16, False), (17, True)):
        again = [frame(CONTINUATION, b"1", fin=fin), frame(TEXT, b"2", fin=False), frame(CONTINUATION, b"3")]
        yield f"5.{number}", fails([*again, *again])
    yield "5.18", fails([frame(TEXT, b"1", fin=False), frame(TEXT, b"2")])
    parts = message(TEXT, *(b"fragment%d" % number for number in range(5)))
    mixed = [*parts[:2], frame(PING, b"1"), *parts[2:4], frame(PING, b"2"), parts[4]]
    yield "5.19", Case([b"".join(mixed)], [b"1", b"2", MESSAGE])
    yield "5.20", Case(mixed, [b"1", b"2", MESSAGE])


KOSME = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
MIXED = "Hello-µ@ßöäüàá-UTF-8!!".encode()


def text_cases() -> Iterator[tuple[str, Case]]:
    yield "6.1.1", Case([frame(TEXT)], [MESSAGE])
    yield "6.1.2", Case(message(TEXT, b"", b"", b""), [MESSAGE])
    yield "6.1.3", Case(message(TEXT, b"", b"middle", b""), [MESSAGE])
    yield "6.2.1", Case([frame(TEXT, MIXED)], [MESSAGE])
    yield "6.2.2", Case(message(TEXT, MIXED[:12], MIXED[12:]), [MESSAGE])
    yield "6.2.3", Case(message(TEXT, *pieces(MIXED, 1)), [MESSAGE])
    yield "6.2.4", Case(message(TEXT, *pieces(KOSME, 1)), [MESSAGE])
    surrogate = KOSME + b"\xed\xa0\x80edited"
    yield "6.3.1", fails([frame(TEXT, surrogate)], code=1007)
    yield "6.3.2", fails(message(TEXT, *pieces(surrogate, 1)), code=1007)
    # Failing at the first bad byte is the strict behaviour; this gateway fails once the message is whole.
    too_high = KOSME + b"\xf4\x90\x80\x80edited"
    for number, parts in enumerate(
        ([too_high[:11], too_high[11:15], too_high[15:]], [too_high[:12], too_high[12:13], too_high[13:]]), 1
    ):
        waiting = [frame(PING, b"%d" % place) for place in range(2)]
        first, second, last = message(TEXT, *parts)
        yield f"6.4.{number}", fails([first, waiting[0], second, waiting[1], last], b"0", b"1", code=1007)
        whole = frame(TEXT, too_high)
        yield f"6.4.{number + 2}", fails([whole[: 6 + 11], whole[6 + 11 : 6 + 15], whole[6 + 15 :]], code=1007)


def sequences() -> Iterator[tuple[int, list[bytes], bool | list[bool]]]:
    """Groups of byte sequences, after Markus Kuhn's UTF-8 stress test, and whether they are UTF-8."""
    yield 5, [f"hello{character}world".encode() for character in "$¢€\U00024b62"] + [KOSME], True
    ends_of_characters = (2, 5, 7, 9, 11)
    lengths = range(1, len(KOSME) + 1)
    yield 6, [KOSME[:length] for length in lengths], [length in ends_of_characters for length in lengths]
    yield 7, [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"], True
    yield 8, [b"\xf8\x88" + b"\x80" * 3, b"\xfc\x84" + b"\x80" * 4], False
    yield 9, [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"], True
    yield 10, [b"\xf7" + b"\xbf" * 3, b"\xfb" + b"\xbf" * 4, b"\xfd" + b"\xbf" * 5], False
    borders = [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"]
    yield 11, borders, [True] * 4 + [False]
    continuations = [b"\x80", b"\xbf", *((b"\x80\xbf" * 3)[:length] for length in range(2, 7))]
    yield 12, [*continuations, bytes(range(0x80, 0xBF))], False
    starts = ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
    yield 13, [b"".join(bytes([byte, 0x20]) for byte in range(*start)) for start in starts], False
    cut = [bytes([low]) + b"\x80" * more for more, low in enumerate((0xC0, 0xE0, 0xF0, 0xF8, 0xFC))]
    cut += [bytes([high]) + b"\xbf" * more for more, high in enumerate((0xDF, 0xEF, 0xF7, 0xFB, 0xFD))]
    yield 14, cut, False
    yield 15, [b"".join(cut)], False
    yield 16, [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"], False
    overlong = (0xC0, 0xE0, 0xF0, 0xF8, 0xFC)
    yield 17, [bytes([start]) + b"\x80" * more + b"\xaf" for more, start in enumerate(overlong)], False
    second = (b"\xc1", b"\xe0\x9f", b"\xf0\x8f", b"\xf8\x87", b"\xfc\x83")
    yield 18, [start + b"\xbf" * max(1, more) for more, start in enumerate(second)], False
    yield 19, [bytes([start]) + b"\x80" * (more + 1) for more, start in enumerate(overlong)], False
    singles = (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
    yield 20, [chr(code).encode(errors="surrogatepass") for code in singles], False
    pairs = [chr(high) + chr(low) for high in singles[:4] for low in (0xDC00, 0xDFFF)]
    yield 21, ["".join(pair).encode("utf-8", "surrogatepass") for pair in pairs], False
    planes = [chr(plane << 16 | 0xFFFE | last).encode() for plane in range(17) for last in (0, 1)]
    yield 22, planes, True
    yield 23, [chr(code).encode() for code in range(0xFFF9, 0x10000)], True


def utf8() -> Iterator[tuple[str, Case]]:
    for group, texts, valid in sequences():
        for number, text in enumerate(texts):
            is_valid = valid if isinstance(valid, bool) else valid[number]
            sent = [frame(TEXT, text)]
            yield f"6.{group}.{number + 1}", Case(sent, [MESSAGE]) if is_valid else fails(sent, code=1007)


def close_handshakes() -> Iterator[tuple[str, Case]]:
    close = closing(1000)
    yield "7.1.1", Case([frame(TEXT, HELLO)], [MESSAGE])
    yield "7.1.2", ends(close, frame(CLOSE))
    yield "7.1.3", ends(close, frame(PING))
    yield "7.1.4", ends(close, frame(TEXT, HELLO))
    first, second = message(TEXT, b"fragment1", b"fragment2")
    yield "7.1.5", ends(first, close, second)
    large = frame(TEXT, b"BAsd7&jh23" * 6_553)
    yield "7.1.6", ends(large, frame(TEXT, HELLO), close, frame(PING), answers=[MESSAGE, MESSAGE])
    yield "7.3.1", ends(closing())
    yield "7.3.2", ends(frame(CLOSE, b"a"), code=1002)
    yield (
        "7.3.2 behind a message",
        ends(frame(TEXT, HELLO), frame(CLOSE, b"a"), frame(CLOSE), code=1002, answers=[MESSAGE]),
    )
    yield "7.3.3", ends(close)
    yield "7.3.4", ends(closing(1000, HELLO))
    yield "7.3.5", ends(closing(1000, b"*" * 123))
    yield "7.3.6", ends(closing(1000, b"*" * 124), code=1002)
    yield "7.5.1", ends(closing(1000, KOSME + b"\xed\xa0\x80edited"), code=(1002, 1007))
    valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for number, code in enumerate(valid, 1):
        yield f"7.7.{number}", ends(closing(code), code=(1000, code))
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield f"7.9.{number}", ends(closing(code), code=1002)
    # What these mean is not defined; the suite only notes what happens.
    for number, code in enumerate((5000, 65_535), 1):
        yield f"7.13.{number}", ends(closing(code), code=(1000, 1002, code))


def limits() -> Iterator[tuple[str, Case]]:
    for kind, opcode, byte in ((0, TEXT, b"*"), (1, BINARY, b"\xfe")):
        whole = byte * LIMIT
        yield f"9.{1 + kind}.1", Case([frame(opcode, whole)], [MESSAGE])
        # 256 KiB and more: refused as soon as their size is announced.
        for number, size in enumerate((2**18, 2**20, 2**22, 2**23, 2**24), 2):
            head = bytes([0x80 | opcode, 0xFF]) + size.to_bytes(8, "big") + bytes(4)
            yield f"9.{1 + kind}.{number}", fails([head + byte * 1000], code=4413)
        for number, size in enumerate((64, 256, 1024, 4096, 16_384, 65_536), 1):
            parts = pieces(whole, size)[:100]
            yield f"9.{3 + kind}.{number}", Case([b"".join(message(opcode, *parts))], [MESSAGE])
        for number, size in enumerate((2**18, 2**20, 2**22), 7):
            head = bytes([opcode, 0xFF]) + size.to_bytes(8, "big") + bytes(4)
            yield f"9.{3 + kind}.{number}", fails([head + byte * 1000], code=4413)
        for number, size in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            yield f"9.{5 + kind}.{number}", Case(octets(frame(opcode, whole), size=size), [MESSAGE])
        for number, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            yield f"9.{7 + kind}.{number}", Case([frame(opcode, byte * size)] * 100, [MESSAGE] * 100)
    endless = [frame(CONTINUATION if at else TEXT, b"*" * 4096, fin=False) for at in range(17)]
    yield "9.9.1", fails(endless, code=4413)
    yield "10.1.1", Case([b"".join(message(TEXT, *pieces(b"*" * LIMIT, 1300)))], [MESSAGE])


CASES = {
    name: case
    for cases in (
        framing, pings, reserved_bits, reserved_opcodes, fragments, text_cases, utf8, close_handshakes, limits
    )
    for name, case in cases()
}  # fmt: skip


class Peer:
    """A client that knows nothing but bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await asyncio.sleep(0)

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: unmasked, whole, without reserved bits, its length in the shortest form."""
        first, short = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80
        assert short < 0x80
        if short < 126:
            size = short
        else:
            size = int.from_bytes(await self.reader.readexactly(2 if short == 126 else 8), "big")
            assert size >= (126 if short == 126 else 65_536)
        return first & 0x0F, await self.reader.readexactly(size)

    async def until_close(self) -> tuple[list[Answer], int]:
        """What comes before the gateway's close frame, and the code of that."""
        answers: list[Answer] = []
        while True:
            opcode, payload = await self.receive()
            if opcode == CLOSE:
                payload[2:].decode()
                return answers, int.from_bytes(payload[:2], "big")
            assert opcode in (TEXT, PONG)
            answers.append(payload if opcode == PONG else MESSAGE)


@asynccontextmanager
async def peer(gateway: GatewayProcess, **headers: str) -> AsyncIterator[Peer]:
    """A peer after its handshake, greeted; `answer` holds the handshake's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token()}\r\n{lines}\r\n".encode()
    )
    try:
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
            # No extension is ever agreed on.
            assert b"sec-websocket-extensions" not in answer.lower()
            found = Peer(reader, writer)
            assert (await found.receive())[0] == TEXT
            yield found
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("name", CASES)
async def test_case(gateway: GatewayProcess, name: str) -> None:
    case = CASES[name]
    async with peer(gateway) as client:
        await client.send(*case.sent, *([closing(1000)] if case.closes else []))
        answers, code = await client.until_close()
        assert answers == case.answers
        assert code in case.code
        if code == 4413:
            # The rest of what was announced never comes, so no close frame can come either.
            return
        if not case.closes:
            await client.send(closing(1000))
        # The gateway closes the TCP connection, and says no more.
        try:
            assert await client.reader.read() == b""
        except ConnectionResetError:
            assert not case.closes


async def test_a_ping_between_fragments_is_answered_before_the_message_is_whole(gateway: GatewayProcess) -> None:
    first, second = message(TEXT, b"fragment1", b"fragment2")
    async with peer(gateway) as client:
        await client.send(first, frame(PING, b"now"))
        assert await client.receive() == (PONG, b"now")
        await client.send(second)
        assert (await client.receive())[0] == TEXT


@pytest.mark.parametrize(
    "offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; x=1, other"]
)
async def test_cases_12_and_13_do_not_apply_because_no_compression_is_agreed_on(
    gateway: GatewayProcess, offer: str
) -> None:
    async with peer(gateway, **{"Sec-WebSocket-Extensions": offer}) as client:
        await client.send(frame(TEXT, HELLO))
        assert (await client.receive())[0] == TEXT
        await client.send(frame(TEXT, HELLO, rsv=4))
        assert (await client.until_close())[1] == 1002


async def test_frames_may_follow_the_handshake_in_the_same_bytes(gateway: GatewayProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = (
        f"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token()}\r\n\r\n"
    )
    large = frame(TEXT, b"*" * 10_000)
    writer.write(head.encode() + frame(PING, b"early") + large[:3000])
    client = Peer(reader, writer)
    async with asyncio.timeout(20):
        await reader.readuntil(b"\r\n\r\n")
        assert (await client.receive())[0] == TEXT
        assert await client.receive() == (PONG, b"early")
        await client.send(large[3000:], closing(1000))
        assert await client.until_close() == ([MESSAGE], 1000)
    writer.transport.abort()
