"""Bodies as they travel: large ones compressed, damaged ones refused."""

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.bodies import COMPRESS_FROM, MAX_BODY, packed, unpacked
from shared.bus.frames import Delivery
from shared.errors import Rejected


def delivery(body: bytes, encoding: str) -> Delivery:
    made = Delivery(1, False, "e", "k")
    made.body, made.content_encoding = body, encoding
    return made


def refusal(body: bytes, encoding: str) -> str:
    with pytest.raises(Rejected) as refused:
        unpacked(delivery(body, encoding))
    return refused.value.code


@pytest.mark.parametrize("size", [0, 1, COMPRESS_FROM, COMPRESS_FROM + 1, 2_000_000])
def test_a_body_comes_out_as_it_went_in(size: int) -> None:
    body = os.urandom(size // 2) + b"x" * (size - size // 2)
    travelling, encoding = packed(body)
    assert encoding == ("gzip" if size > COMPRESS_FROM else "")
    assert unpacked(delivery(travelling, encoding)) == body


def test_the_largest_body_passes_and_one_byte_more_is_too_large() -> None:
    assert len(unpacked(delivery(gzip.compress(b"x" * MAX_BODY, 1), "gzip"))) == MAX_BODY
    assert refusal(gzip.compress(b"x" * (MAX_BODY + 1), 1), "gzip") == "too_large"


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 10_000_000, 9), 9)
    assert len(unpacked(delivery(bomb, "gzip"))) < 100_000
    assert refusal(gzip.compress(b"\0" * 100_000_000, 1), "gzip") == "too_large"


@pytest.mark.parametrize("encoding", ["deflate", "br", "GZIP", "gzip, gzip", "identity"])
def test_another_encoding_is_refused(encoding: str) -> None:
    assert refusal(b"{}", encoding) == "invalid"


@given(st.binary(max_size=40))
def test_damaged_gzip_is_refused(body: bytes) -> None:
    assert refusal(body, "gzip") == "invalid"


@pytest.mark.parametrize("cut", [1, 4, 8, 12, 20])
def test_gzip_that_ends_too_early_is_refused(cut: int) -> None:
    assert refusal(gzip.compress(b'{"a": 1, "b": 2}')[:-cut], "gzip") == "invalid"


def test_what_follows_the_compressed_body_is_not_passed_over_in_silence() -> None:
    assert refusal(gzip.compress(b"{}") + b"more", "gzip") == "invalid"
    assert refusal(gzip.compress(b"{}") + gzip.compress(b"{}"), "gzip") == "invalid"
