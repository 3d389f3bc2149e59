"""AMQP's topic patterns as regular expressions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.session_worker.topics import regex_of


def matches(pattern: str, key: str) -> bool:
    return re.search(regex_of(pattern), f".{key}", re.DOTALL) is not None


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("session.s1.#", "session.s1.created", True),
        ("session.s1.#", "session.s1", True),
        ("session.s1.#", "session.s12.created", False),
        ("session.*.created", "session.s1.created", True),
        ("session.*.created", "session.s1.x.created", False),
        ("#", "anything.at.all", True),
        ("#.created", "created", True),
        ("#.created", "a.b.created", True),
        ("a.#.z", "a.z", True),
        ("a.#.#.z", "a.b.c.z", True),
        ("*", "one", True),
        ("*", "one.two", False),
        ("*.*", "one.two", True),
        ("webhook.github.push", "webhook.github.push", True),
        ("webhook.github.push", "webhookxgithubxpush", False),
        ("a.(b|c)+$", "a.(b|c)+$", True),
        ("a.[b]", "a.b", False),
        ("ü.漢", "ü.漢", True),
        ("new\nline", "new\nline", True),
    ],
)
def test_a_pattern_matches_as_amqp_says(pattern, key, expected):
    assert matches(pattern, key) is expected


def by_the_book(pattern: list[str], key: list[str]) -> bool:
    if not pattern:
        return not key
    if pattern[0] == "#":
        return by_the_book(pattern[1:], key) or (bool(key) and by_the_book(pattern, key[1:]))
    return bool(key) and pattern[0] in ("*", key[0]) and by_the_book(pattern[1:], key[1:])


WORD = st.sampled_from(["a", "b", "s1", "", "a-b", "(", "\\"])


@given(
    st.lists(st.one_of(WORD, st.sampled_from(["*", "#"])), min_size=1, max_size=7),
    st.lists(WORD, min_size=1, max_size=7),
)
def test_patterns_match_the_same_keys_as_a_matcher_written_from_the_specification(pattern, key):
    assert matches(".".join(pattern), ".".join(key)) is by_the_book(pattern, key)
