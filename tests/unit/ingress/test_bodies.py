"""Reading bodies within their limits."""

import asyncio
import gzip
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.bodies import LIMIT, BodyReader, ClientGone, decompress
from shared.errors import Rejected
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


def pieces(*parts: bytes, whole: bool = True):
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not whole}

    return receive


async def read(receive: Any, headers: dict[bytes, bytes] | None = None, limit: int = LIMIT) -> bytes:
    return (await BodyReader().read(receive, headers or {}, limit))[1]


async def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(Rejected) as refusal:
        await read(*arguments, **options)
    return refusal.value.code


async def test_a_body_comes_together_from_its_pieces() -> None:
    assert await read(pieces(b"ab", b"", b"cd")) == b"abcd"
    assert await read(pieces(b"")) == b""


async def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    async def never() -> None:
        raise AssertionError("the body was read")

    assert await refused(never, {b"content-length": b"1000001"}) == "too_large"


async def test_a_body_over_the_limit_is_refused_however_it_comes() -> None:
    assert await refused(pieces(b"x" * 1001), limit=1000) == "too_large"
    assert await refused(pieces(b"x" * 600, b"x" * 401), limit=1000) == "too_large"
    assert await read(pieces(b"x" * 600, b"x" * 400), limit=1000) == b"x" * 1000


async def test_a_client_that_leaves_in_the_middle_is_noticed() -> None:
    with pytest.raises(ClientGone):
        await read(pieces(b"half", whole=False))


@pytest.mark.parametrize("name", [b"gzip", b"x-gzip", b"deflate", b" GZIP "])
async def test_compressed_bodies_are_decompressed(name: bytes) -> None:
    text = b'{"a":1}' * 1000
    sent = zlib.compress(text) if b"deflate" in name else gzip.compress(text)
    both = await BodyReader().read(pieces(sent[:10], sent[10:]), {b"content-encoding": name}, LIMIT)
    assert both == (sent, text)


async def test_bare_deflate_data_is_understood_as_some_senders_write_it() -> None:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert await read(pieces(stream.compress(b"text") + stream.flush()), {b"content-encoding": b"deflate"}) == b"text"


async def test_a_gzip_file_of_several_members_is_read_whole() -> None:
    both = gzip.compress(b"one ") + gzip.compress(b"two")
    assert await read(pieces(both), {b"content-encoding": b"gzip"}) == b"one two"


async def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000)
    assert len(bomb) < LIMIT
    assert await refused(pieces(bomb), {b"content-encoding": b"gzip"}) == "too_large"


async def test_a_bomb_of_many_members_is_refused_too() -> None:
    assert await refused(pieces(gzip.compress(b"x" * 10_000) * 101), {b"content-encoding": b"gzip"}) == "too_large"


@pytest.mark.parametrize(
    "sent",
    [b"plain text", gzip.compress(b"text" * 100)[:-20], gzip.compress(b"text")[:-1] + b"\x07", b"\x1f\x8b"],
    ids=["not compressed", "cut off", "a wrong sum", "only the magic"],
)
async def test_broken_compression_is_refused_as_invalid(sent: bytes) -> None:
    assert await refused(pieces(sent), {b"content-encoding": b"gzip"}) == "invalid"


@pytest.mark.parametrize("name", [b"br", b"zstd", b"gzip, gzip", b"\xff"])
async def test_a_compression_nobody_here_knows_is_refused_as_invalid(name: bytes) -> None:
    assert await refused(pieces(b"{}"), {b"content-encoding": name}) == "invalid"


@given(st.binary(max_size=3000), st.integers(0, 9))
def test_whatever_is_compressed_comes_out_again(text: bytes, level: int) -> None:
    assert decompress(gzip.compress(text, level), 3000) == text
    assert decompress(zlib.compress(text, level), 3000) == text


@given(st.binary(max_size=500))
def test_garbage_is_refused_and_never_raises_anything_else(data: bytes) -> None:
    try:
        assert len(decompress(data, 1000)) <= 1000
    except Rejected as error:
        assert error.code in ("invalid", "too_large")


async def test_of_large_bodies_only_a_few_are_read_at_once() -> None:
    reader, reading, most = BodyReader(), 0, 0
    go_on = asyncio.Event()

    def large() -> Any:
        left = [b"x" * 1000, b"x" * 1000]

        async def receive() -> dict[str, Any]:
            nonlocal reading, most
            if len(left) == 1:
                reading += 1
                most = max(most, reading)
                await go_on.wait()
                reading -= 1
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        return receive

    async def all_places_taken() -> bool:
        return reading == 8

    tasks = [asyncio.create_task(reader.read(large(), {}, 25_000_000)) for _ in range(20)]
    await eventually_async(all_places_taken)
    go_on.set()
    assert {len(body) for _, body in await asyncio.gather(*tasks)} == {2000}
    assert most == 8


def test_random_data_survives_both_ways() -> None:
    text = random.Random(1).randbytes(100_000)
    assert decompress(gzip.compress(text), 100_000) == text
