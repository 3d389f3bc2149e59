"""Answers as rooms take them: in pieces, and as HTML that holds nothing of their own."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from services.claude_worker.posting.text import Piece, blocks, clean, pieces, reads_like, size_of, to_html
from standins.campfire import text as campfire
from tests.examples import examples

WORDS = some.text(some.sampled_from("ab .!\n`~<>&\"'@\t é漢👋\r\0"), max_size=400)
MARKDOWN = some.lists(
    some.one_of(WORDS, some.sampled_from(["\n```python\n", "\n```\n", "\n~~~\n", "\n\n", "x" * 90, "one. two. "]))
).map("".join)


class Tags(HTMLParser):
    """The tags of a body, with their attributes."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.found: list[tuple[str, int]] = []
        self.feed(body)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, len(attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", 0))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", 0))


def seen(text: str) -> str:
    """What there is to see in a text, without fences."""
    return bare(*(block.text for block in blocks(clean(text))))


def bare(*texts: str) -> str:
    return re.sub(r"[\s\0]", "", "".join(texts))


def bodies(text: str, limit: int = 100_000) -> list[str]:
    return [to_html(piece) for piece in pieces(text, limit, most=10_000)]


@settings(max_examples=examples(100))
@given(MARKDOWN, some.integers(min_value=20, max_value=120))
def test_whatever_is_said_holds_no_tags_but_ours(text: str, limit: int) -> None:
    for body in bodies(text, limit):
        assert {tag for tag, _ in Tags(body).found} <= {"div", "pre", "br"}
        assert all(not attributes for _, attributes in Tags(body).found)


@settings(max_examples=examples(100))
@given(MARKDOWN, some.integers(min_value=20, max_value=120))
def test_whatever_is_said_is_all_there_to_read_in_pieces_that_are_short_enough(text: str, limit: int) -> None:
    made = pieces(text, limit, most=10_000)
    assert all(size_of(piece) <= limit and any(not block.is_blank for block in piece) for piece in made)
    assert bare(*(campfire.plain(to_html(piece), {}) for piece in made)) == seen(text)


@settings(max_examples=examples(100))
@given(MARKDOWN, some.integers(min_value=20, max_value=120))
def test_pieces_are_the_same_each_time(text: str, limit: int) -> None:
    assert pieces(text, limit) == pieces(text, limit)


def markdown(piece: Piece) -> str:
    return "\n\n".join(each.text if each.fence is None else f"{each.fence}\n{each.text}\n```" for each in piece)


@pytest.mark.parametrize("said", ["", "\n \n", "\0", "```\n```"])
def test_what_is_blank_is_no_message(said: str) -> None:
    assert bodies(said) == []


def test_a_mention_in_an_answer_mentions_nobody() -> None:
    mention = campfire.mention("Ada", "sgid--1")
    (body,) = bodies(f"hello {mention} @Ada")
    assert campfire.mentioned(body) == []
    assert campfire.shown(body, {}) == f"hello {mention} @Ada"


def test_lines_and_code_read_as_they_were_written() -> None:
    said = "Run this:\n\n```python\ndef f(x):\n    return x < 1 & y\n```\nand\n- one\n- two"
    (body,) = bodies(said)
    assert body == (
        "<div>Run this:</div><pre>def f(x):\n    return x &lt; 1 &amp; y</pre><div>and<br>- one<br>- two</div>"
    )
    assert campfire.shown(body, {}) == ("Run this:\ndef f(x):\n    return x < 1 & y\nand\n- one\n- two")


def test_a_long_answer_is_cut_between_paragraphs() -> None:
    paragraphs = [f"{number} " + "word " * 10 for number in range(6)]
    made = list(map(markdown, pieces("\n\n".join(paragraphs), 130)))
    assert [piece.count("word") for piece in made] == [20, 20, 20]
    assert all(piece.startswith(str(number)) for piece, number in zip(made, (0, 2, 4), strict=True))


def test_code_that_is_too_long_stands_between_fences_in_each_piece() -> None:
    code = "\n".join(f"line {number} of the code" for number in range(40))
    made = list(map(markdown, pieces(f"Look:\n```python\n{code}\n```\nDone.", 200)))
    assert made[0].startswith("Look:\n\n```python\nline 0") and made[-1].endswith("Done.")
    for piece in made[1:-1]:
        assert piece.startswith("```python\nline") and piece.endswith("code\n```")


def test_of_an_answer_without_end_a_room_is_told_that_there_is_more() -> None:
    made = pieces("word " * 100_000)
    assert len(made) == 25 and "characters more" in made[-1][0].text


def test_a_line_that_is_cut_does_not_become_a_fence() -> None:
    (first, *_) = pieces("```<<`" + "x" * 90, 20)
    assert campfire.shown(to_html(first), {}).startswith("```<<`")


def test_bodies_read_alike_whatever_a_server_makes_of_them() -> None:
    assert reads_like("<div>a &amp; b<br>c</div>", '<div class="trix-content">\n  a &#38; b<br />\nc</div>')
    assert not reads_like("<div>a</div>", "<div>b</div>")


def test_an_answer_made_to_be_slow_is_cut_at_once() -> None:
    began = time.monotonic()
    for line in ("~" * 20_000 + "`", "`" * 20_000 + "x`", "~~~" + " " * 20_000 + "`", "<" * 20_000):
        assert pieces(f"{line}\n{line}")
        assert reads_like(line, line)
    assert time.monotonic() - began < 2
