"""Lines are the same however the bytes arrive."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from switchyard_client.agents.lines import LineSplitter, Piece, decode, encode

# Line ends, half characters, whole characters of every length, and what is no UTF-8 at all.
BYTES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bcd", "é".encode(), "€".encode(), "😀".encode(), b"\xff", b"\xe2"]),
    max_size=60,
).map(b"".join)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[at:to] for at, to in pairwise(places)]


def split(parts: list[bytes], limit: int) -> list[Piece]:
    splitter = LineSplitter(limit)
    return [piece for part in parts for piece in splitter.feed(part)] + splitter.finish()


def joined(pieces: list[Piece]) -> list[bytes]:
    """Whole lines again."""
    lines, begun = [], b""
    for piece in pieces:
        begun += piece.content
        if not piece.more:
            lines.append(begun)
            begun = b""
    assert begun == b""
    return lines


@given(BYTES, st.lists(st.integers(0, 500)), st.integers(4, 12))
def test_any_chunking_gives_the_same_pieces(data: bytes, cuts: list[int], limit: int) -> None:
    assert split(chunks(data, cuts), limit) == split([data], limit)


@given(BYTES, st.lists(st.integers(0, 500)), st.integers(4, 12), st.lists(st.integers(0, 20)))
def test_flushing_a_prompt_anywhere_gives_the_same_lines(
    data: bytes, cuts: list[int], limit: int, flushes: list[int]
) -> None:
    splitter = LineSplitter(limit)
    pieces: list[Piece] = []
    for number, part in enumerate(chunks(data, cuts)):
        pieces += splitter.feed(part)
        pieces += splitter.flush() if number in flushes else []
    assert joined(pieces + splitter.finish()) == joined(split([data], limit))


@given(BYTES, st.integers(4, 12))
def test_no_byte_is_lost_no_piece_too_long_and_no_character_cut(data: bytes, limit: int) -> None:
    pieces = split([data], limit)
    assert all(len(piece.content) <= limit for piece in pieces)
    lines = data.split(b"\n")
    wanted = [line.removesuffix(b"\r") for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    assert joined(pieces) == wanted
    if _is_utf8(data):
        assert all(_is_utf8(piece.content) for piece in pieces)


@given(BYTES)
def test_what_is_no_text_is_given_in_base64(data: bytes) -> None:
    text, encoding = encode(data)
    assert decode(text, encoding) == data
    assert (encoding is None) == _is_utf8(data)


def test_a_nul_is_no_text() -> None:
    assert encode(b"a\x00") == ("YQA=", "base64")


def test_a_long_line_comes_in_pieces() -> None:
    assert split([b"x" * 10 + b"\ny\n"], 4) == [Piece(b"xxxx", True), Piece(b"xxxx", True), Piece(b"xx"), Piece(b"y")]


def test_a_prompt_is_handed_out_without_half_a_character() -> None:
    splitter = LineSplitter()
    splitter.feed("> €".encode()[:-1])
    assert splitter.flush() == [Piece(b"> ", True)]
    assert splitter.feed("€\n".encode()[2:]) == [Piece("€".encode())]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
