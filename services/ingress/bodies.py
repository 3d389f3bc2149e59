"""Reading request bodies within limits: size on the wire, size after decompression, and how many large ones at once."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.errors import Rejected, invalid

# Megabytes are 10^6 bytes here, so that nothing over a stated limit ever gets through, however it is counted.
GITHUB_LIMIT = 25_000_000
LIMIT = 1_000_000
# A record holds what one request brought, and what was made of it.
RECORDS_LIMIT = 8_000_000

_LARGE = 1_000_000
_LARGE_AT_ONCE = 8
_PLACE_WAIT_SECONDS = 5
_PIECE = 64 * 1024
_IN_THREAD_ABOVE = 64 * 1024

Receive = Callable[[], Awaitable[Any]]


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


def too_large(limit: int) -> Rejected:
    """The body is over the limit of its route."""
    return Rejected("too_large", f"the body is over the limit of {limit} bytes", limit=limit)


def check_declared(headers: Mapping[bytes, bytes], limit: int) -> int | None:
    """The length a request declares, if any. Raises `Rejected("too_large")` before anything of the body is read."""
    declared = headers.get(b"content-length")
    if declared is None:
        return None
    length = int(declared)
    if length > limit:
        raise too_large(limit)
    return length


class BodyReader:
    """Reads bodies; of large ones only a few at once, so that many of them can't fill the memory."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> tuple[bytes, bytes]:
        """The body as it was sent, and as its sender meant it (the same unless it came compressed).

        Raises `Rejected`: `too_large` on the wire or decompressed, `invalid` for a broken or unknown compression,
        `unavailable` when too many large bodies are under way. Raises ClientGone. Time limits are the server's.
        """
        declared = check_declared(headers, limit)
        encoding = headers.get(b"content-encoding")
        message = await receive()
        if encoding is None and message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise too_large(limit)
            return body, body
        if limit <= _LARGE or (encoding is None and declared is not None and declared <= _LARGE):
            return await self._read_on(message, receive, encoding, limit)
        try:
            async with asyncio.timeout(_PLACE_WAIT_SECONDS):
                await self._large.acquire()
        except TimeoutError:
            raise Rejected("unavailable", "too many large bodies are under way; send this one again") from None
        try:
            return await self._read_on(message, receive, encoding, limit)
        finally:
            self._large.release()

    async def _read_on(self, message: Any, receive: Receive, encoding: bytes | None, limit: int) -> tuple[bytes, bytes]:
        pieces: list[bytes] = []
        size = 0
        while True:
            if message["type"] != "http.request":
                raise ClientGone
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise too_large(limit)
            if not message.get("more_body"):
                break
            message = await receive()
        sent = b"".join(pieces)
        name = (encoding or b"").strip().lower()
        if name in (b"", b"identity"):
            return sent, sent
        if name not in (b"gzip", b"x-gzip", b"deflate"):
            raise invalid(f"content-encoding {name.decode('latin-1')!r} is not understood; gzip and deflate are")
        if len(sent) > _IN_THREAD_ABOVE:
            return sent, await asyncio.to_thread(decompress, sent, limit)
        return sent, decompress(sent, limit)


def decompress(data: bytes, limit: int) -> bytes:
    """The content of gzip or zlib data, or of bare deflate data, as some senders write "deflate".

    Stops as soon as there is more than `limit`. Raises `Rejected`: `too_large`, or `invalid` when the data is broken.
    """
    try:
        return _inflate(data, limit, zlib.MAX_WBITS | 32)
    except zlib.error as error:
        try:
            return _inflate(data, limit, -zlib.MAX_WBITS)
        except zlib.error:
            raise invalid(f"the body can't be decompressed: {error}") from None


def _inflate(data: bytes, limit: int, wbits: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    rest = data
    while rest:
        stream = zlib.decompressobj(wbits)
        while not stream.eof:
            piece = stream.decompress(rest, _PIECE)
            rest = stream.unconsumed_tail
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            if not piece and not rest and not stream.eof:
                raise zlib.error("it ends too early")
            pieces.append(piece)
        # A gzip file may have several members, one after the other.
        rest = stream.unused_data
    return b"".join(pieces)
