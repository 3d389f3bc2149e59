"""Texts as a search shows them."""

from shared.database.full_text import HIGHLIGHTED, as_html, readable
from shared.messages import JsonText


def test_a_content_reads_as_its_strings_in_order():
    content = JsonText(b'{"b": "one", "a": [1, "two", {"c": "three", "d": [["four"]]}], "e": null, "f": "five"}')
    assert readable(content) == "one\ntwo\nthree\nfour\nfive"
    assert readable(JsonText(b'"just text"')) == "just text"
    assert readable(JsonText(b"1e5")) == ""


def test_only_the_beginning_of_a_long_content_is_read():
    assert len(readable(JsonText.of(["x" * 15_000] * 10))) <= HIGHLIGHTED


def test_a_highlight_is_safe_to_show_as_html():
    assert as_html('\x02a\x03 <script>"&"') == '<mark>a</mark> &lt;script&gt;"&amp;"'
