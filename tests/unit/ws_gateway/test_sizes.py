"""Announced frame sizes, however the bytes are cut."""

import os

from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.sizes import FrameSizes


def masked(opcode: int, size: int) -> bytes:
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 0xFF]) + size.to_bytes(8, "big")
    return head + os.urandom(4 + size)


@given(
    st.lists(st.sampled_from([0, 1, 125, 126, 200, 1000]), max_size=6),
    st.lists(st.integers(1, 700), max_size=20),
    st.booleans(),
)
def test_frames_within_the_limit_pass_and_a_close_is_seen(sizes: list[int], cuts: list[int], closes: bool) -> None:
    data = b"".join(masked(1, size) for size in sizes) + (masked(8, 2) if closes else b"")
    follower = FrameSizes(1000)
    for cut in [*cuts, len(data)]:
        follower.feed(memoryview(data[:cut]))
        data = data[cut:]
    assert not follower.too_large
    assert follower.close_seen is closes


def test_a_frame_over_the_limit_is_known_from_its_header() -> None:
    follower = FrameSizes(1000)
    data = masked(1, 10) + masked(1, 70_000)
    follower.feed(memoryview(data[: 16 + 13]))
    assert not follower.too_large
    follower.feed(memoryview(data[16 + 13 : 16 + 14]))
    assert follower.too_large
    follower.feed(memoryview(data[16 + 14 :] + masked(8, 2)))
    assert follower.close_seen
