"""How far a key reaches."""

import pytest

from shared.reach import Sessions, beyond
from shared.topics import Topics


@pytest.mark.parametrize(
    ("session_id", "allowed"),
    [("s1", True), ("s10", False), ("S1", False), ("team-", True), ("team-7", True), ("team", False), ("", False),
     ("a*b", True), ("axb", False), ("team-*", True)],
)  # fmt: skip
def test_a_list_holds_whole_ids_and_beginnings(session_id: str, allowed: bool) -> None:
    assert Sessions(["s1", "team-*", "a*b"]).allow(session_id) is allowed


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("session.s1.#", True), ("memory.s1.*", True), ("task.team-7.created", True), ("session.a_b.#", True),
        ("session.s1", False), ("session.*.created", False), ("session.#", False), ("#", False), ("*.s1.#", False),
        ("session.s2.#", False), ("webhook.s1.push", False), ("system.key_changed", False), ("session..x", False),
        ("session.team-*.#", True),
    ],
)  # fmt: skip
def test_the_topics_of_its_sessions_and_no_others(pattern: str, covered: bool) -> None:
    assert Sessions(["s1", "team-*", "a.b"]).cover(pattern) is covered


def test_a_star_alone_is_every_session_but_no_wildcard_topic() -> None:
    every = Sessions(["*"])
    assert every.allow("anything")
    assert every.cover("session.anything.#")
    assert not every.cover("session.*.#")


def test_what_lies_beyond_topics_and_sessions_is_told() -> None:
    asked = ["webhook.github.push", "session.s1.#", "session.s2.#", "#"]
    assert beyond(asked, Topics(["webhook.#"]), Sessions(["s1"])) == ["#", "session.s2.#"]
    assert beyond(asked, Topics(["webhook.#"]), None) == ["#", "session.s1.#", "session.s2.#"]
    assert beyond(asked, None, Sessions(["s1"])) == ["#", "session.s2.#", "webhook.github.push"]
    assert beyond(asked, None, None) == []
