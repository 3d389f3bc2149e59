"""Frame headers, however the bytes are cut."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.wire.sizes import PROTOCOL_ERROR, TOO_LARGE, FrameSizes

MASK = bytes(4)


def masked(opcode: int, size: int) -> bytes:
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 0xFF]) + size.to_bytes(8, "big")
    return head + os.urandom(4 + size)


def fed(follower: FrameSizes, data: bytes, cuts: list[int]) -> int:
    """How many of the bytes are handed on."""
    good = 0
    for cut in [*cuts, len(data)]:
        good += follower.feed(memoryview(data[:cut]))
        data = data[cut:]
    return good


@given(
    st.lists(st.sampled_from([0, 1, 125, 126, 200, 1000]), max_size=6),
    st.lists(st.integers(1, 700), max_size=20),
    st.booleans(),
)
def test_frames_within_the_limit_pass_and_a_close_is_seen(sizes: list[int], cuts: list[int], closes: bool) -> None:
    data = b"".join(masked(1, size) for size in sizes) + (masked(8, 2) if closes else b"")
    follower = FrameSizes(1000)
    assert fed(follower, data, cuts) == len(data)
    assert follower.fault is None
    assert follower.close_seen is closes


def test_a_frame_over_the_limit_is_known_from_its_header() -> None:
    follower = FrameSizes(1000)
    data = masked(1, 10) + masked(1, 70_000)
    follower.feed(memoryview(data[: 16 + 13]))
    assert follower.fault is None
    assert follower.feed(memoryview(data[16 + 13 : 16 + 14])) == 0
    assert follower.fault is not None
    assert follower.fault[0] == TOO_LARGE
    assert follower.feed(memoryview(data[16 + 14 :] + masked(8, 2))) == 0
    assert follower.close_seen


@given(st.lists(st.integers(1, 30), max_size=10))
def test_what_comes_before_a_faulty_frame_is_handed_on_but_nothing_of_it_once_it_is_known(cuts: list[int]) -> None:
    good, bad = masked(1, 20) + masked(9, 4), b"\xc1\x80" + MASK
    follower = FrameSizes(1000)
    handed_on = fed(follower, good + bad + masked(1, 5), cuts)
    assert follower.fault is not None
    assert len(good) <= handed_on < len(good + bad)


def test_a_frame_that_follows_in_the_same_bytes_is_found_faulty_at_its_first_byte() -> None:
    good = masked(1, 20)
    assert FrameSizes(1000).feed(memoryview(good + b"\x83\x80" + MASK)) == len(good)


def test_what_comes_behind_a_close_means_nothing() -> None:
    follower, first, close = FrameSizes(1000), masked(1, 20), masked(8, 2)
    assert follower.feed(memoryview(first + close + masked(8, 2) + b"\xff" * 20)) == len(first + close)
    assert follower.close_begins == len(first)
    assert follower.feed(memoryview(b"\xff" * 20)) == 0
    assert (follower.fault, follower.close_begins) == (None, 0)


def test_a_close_may_come_in_pieces() -> None:
    follower, close = FrameSizes(1000), masked(8, 5)
    assert [follower.feed(memoryview(close[at : at + 1])) for at in range(len(close))] == [1] * len(close)
    assert follower.feed(memoryview(b"x")) == 0


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"\xc1\x80" + MASK, id="a reserved bit"),
        pytest.param(b"\xf8\x80" + MASK, id="a close with reserved bits"),
        pytest.param(b"\x83\x80" + MASK, id="a reserved opcode"),
        pytest.param(b"\x81\x01x", id="not masked"),
        pytest.param(b"\x09\x80" + MASK, id="a ping in pieces"),
        pytest.param(b"\x89\xfe\x00\x7e" + MASK, id="a ping of 126 bytes"),
        pytest.param(b"\x81\xfe\x00\x7d" + MASK, id="125 in two bytes"),
        pytest.param(b"\x81\xff" + bytes(6) + b"\xff\xff" + MASK, id="65535 in eight bytes"),
        pytest.param(b"\x81\xff\x80" + bytes(7) + MASK, id="the highest bit of a length"),
    ],
)
def test_what_breaks_the_protocol_is_known_from_the_header(head: bytes) -> None:
    follower = FrameSizes(1000)
    assert follower.feed(memoryview(head)) == 0
    assert follower.fault is not None
    assert follower.fault[0] == PROTOCOL_ERROR
