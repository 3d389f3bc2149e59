"""Whom a posted text names."""

import pytest

from services.session_worker import mentions

AGENTS = ["ada", "ada-2", "ada.lovelace", "Bob", "claude", "Big Brother", "münch"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("@ada the clock is mocked twice", ["ada"]),
        ("ask @ada, @Bob: or (@claude)?", ["ada", "Bob", "claude"]),
        ("@claude then @ada then @claude", ["claude", "ada"]),
        ("@ada-2 is not @ada.lovelace", ["ada-2", "ada.lovelace"]),
        ("so says @ada.", ["ada"]),
        ("@bob and @ADA", ["Bob", "ada"]),
        ("@Big Brother watches", ["Big Brother"]),
        ("@münch!", ["münch"]),
        ("mail ada@ada.org or x@ada", []),
        ("@adam @ada_x @ada@home @nobody", []),
        ("no names here", []),
        ("", []),
    ],
)
def test_a_text_names_agents_by_an_at_before_their_whole_id(text, named):
    assert mentions.named_in(text, AGENTS, "someone") == named


def test_nobody_mentions_himself_by_the_way():
    assert mentions.named_in("@ada and @Bob", AGENTS, "ada") == ["Bob"]
    assert mentions.named_in("@ada", ["ada"], "ada") == []


def test_ids_that_differ_in_case_alone_are_named_exactly():
    assert mentions.named_in("@ada @ADA @Ada", ["ada", "ADA"], "x") == ["ada", "ADA"]


def test_a_long_text_of_near_misses_is_read_in_time_that_grows_with_it():
    assert mentions.named_in("@ad" * 33_000, AGENTS, "x") == []
