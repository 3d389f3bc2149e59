"""query_memories on a real database: filters, pages, moments and full text."""

from typing import Any

import pytest


def note(key: str, content: Any, session: str = "s1", type: str = "fact", tags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"session_id": session, "type": type, "key": key, "content": content, "tags": list(tags)}


def keys(result: dict[str, Any]) -> list[str]:
    return [memory["key"] for memory in result["memories"]]


def all_pages(worker: Any, **query: Any) -> list[dict[str, Any]]:
    found, cursor = [], None
    while True:
        result = worker.ask("query_memories", **query, **({"cursor": cursor} if cursor else {}))
        found += result["memories"]
        if (cursor := result["next"]) is None:
            return found
        assert len(result["memories"]) == query["limit"]


def test_memories_come_the_newest_first_in_the_order_of_their_batch(worker):
    worker.store(*(note(f"k{number}", number) for number in range(5)))
    worker.store(note("k1", "again"))
    worker.store(note("late", 9))
    result = worker.ask("query_memories")
    assert keys(result) == ["late", "k1", "k4", "k3", "k2", "k0"]
    assert result["next"] is None
    assert result["memories"][1] == worker.ask("retrieve_memory", session_id="s1", key="k1")["memory"] | {
        "rank": None,
        "highlight": None,
    }


def test_filters_hold_together(worker):
    worker.store(
        note("a", 1, tags=("red", "big")),
        note("b", 1, tags=("red",)),
        note("c", 1, type="risk", tags=("red", "big")),
        note("d", 1, session="s2", tags=("red", "big")),
    )
    assert keys(worker.ask("query_memories", session_id="s1")) == ["c", "b", "a"]
    assert keys(worker.ask("query_memories", type="risk")) == ["c"]
    assert keys(worker.ask("query_memories", tags=["big", "red"])) == ["d", "c", "a"]
    assert keys(worker.ask("query_memories", session_id="s1", type="fact", tags=["big"])) == ["a"]
    assert keys(worker.ask("query_memories", tags=[])) == ["d", "c", "b", "a"]
    assert keys(worker.ask("query_memories", session_id="nowhere")) == []


def test_pages_meet_without_gap_or_repetition(worker):
    worker.store(*(note(f"k{number:02}", "a word", session=f"s{number % 2 + 1}") for number in range(25)))
    listed = all_pages(worker, limit=4)
    assert [memory["key"] for memory in listed] == [f"k{number:02}" for number in reversed(range(25))]
    found = all_pages(worker, limit=4, text="word")
    assert [memory["key"] for memory in found] == [f"k{number:02}" for number in reversed(range(25))]


@pytest.mark.parametrize(
    "cursor", ["x", "é", "bnVsbA", "WzEsMiwzXQ", "WyJub3ciLCJhIiwiYiJd", "WzEuMCwibm93IiwiYSIsImIiXQ"]
)
def test_a_cursor_of_ones_own_making_is_invalid(worker, cursor):
    for query in ({}, {"text": "word"}):
        assert worker.ask("query_memories", cursor=cursor, **query)["code"] == "invalid"


def test_a_list_as_of_a_moment_shows_the_versions_then_in_force(worker):
    worker.store(note("a", "old"), note("b", "steady"))
    (then,) = worker.store(note("c", "first"))
    worker.store(note("a", "new"), note("d", "later"))
    worker.store(note("a", "newer"))
    result = worker.ask("query_memories", session_id="s1", as_of=then["updated"])
    assert [(memory["key"], memory["content"]) for memory in result["memories"]] == [
        ("c", "first"),
        ("b", "steady"),
        ("a", "old"),
    ]
    pages = all_pages(worker, limit=1, as_of=then["updated"])
    assert [memory["key"] for memory in pages] == ["c", "b", "a"]
    assert worker.ask("query_memories", as_of="2001-01-01T00:00:00Z")["memories"] == []


def test_full_text_finds_words_in_every_form_of_content(worker):
    worker.store(
        note("plain", "The migrations were running late"),
        note("object", {"title": "Migration plan", "steps": ["run it", {"by": "night"}]}),
        note("list", ["nothing", "about it"]),
        note("number", 42),
        note("name", {"migration": "only a member's name"}),
    )
    assert sorted(keys(worker.ask("query_memories", text="migrate"))) == ["object", "plain"]
    assert keys(worker.ask("query_memories", text='"migrations were running"')) == ["plain"]
    assert keys(worker.ask("query_memories", text="migration -late")) == ["object"]
    assert sorted(keys(worker.ask("query_memories", text="night or nothing"))) == ["list", "object"]
    assert keys(worker.ask("query_memories", text="absent")) == []


def test_the_best_match_comes_first_with_its_rank_and_highlight(worker):
    worker.store(
        note("far", "cache " + "filler " * 50 + "invalidation"),
        note("near", "cache invalidation is 2 < 3 & fun"),
        note("other", "cache only"),
    )
    result = worker.ask("query_memories", text="cache invalidation")
    assert keys(result) == ["near", "far"]
    best, second = result["memories"]
    assert best["rank"] > second["rank"] > 0
    assert best["highlight"] == "<mark>cache</mark> <mark>invalidation</mark> is 2 &lt; 3 &amp; fun"
    assert "<mark>cache</mark>" in second["highlight"]
    assert "<mark>invalidation</mark>" in second["highlight"]


def test_a_highlight_holds_the_strings_of_a_content_and_no_marks_of_the_content_itself(worker):
    worker.store(note("k", {"a": "some \x02text\x03 here", "b": [{"c": "and a word"}], "d": 12}))
    (found,) = worker.ask("query_memories", text="word")["memories"]
    assert found["highlight"] == "some  text  here\nand a <mark>word</mark>"


def test_stop_words_find_nothing_and_only_leaving_out_is_invalid(worker):
    worker.store(note("k", "the word"))
    assert worker.ask("query_memories", text="the and of") == {"memories": [], "next": None}
    assert worker.ask("query_memories", text="-word")["code"] == "invalid"
    assert worker.ask("query_memories", text="word or -thing")["code"] == "invalid"


@pytest.mark.parametrize("text", ["'", '"', "a'b \\ : & | ! <-> *", "%s :x $1", "(((", "word:*", "\U0001f600"])
def test_no_text_is_a_syntax_error(worker, text):
    assert worker.ask("query_memories", text=text)["memories"] == []


def test_a_new_version_is_found_by_its_words_alone(worker):
    (old,) = worker.store(note("k", "apples"))
    worker.store(note("k", "pears"))
    assert keys(worker.ask("query_memories", text="apple")) == []
    assert keys(worker.ask("query_memories", text="pear")) == ["k"]
    (found,) = worker.ask("query_memories", text="apple", as_of=old["updated"])["memories"]
    assert (found["version"], found["content"], found["highlight"]) == (1, "apples", "<mark>apples</mark>")
    assert worker.ask("query_memories", text="pear", as_of=old["updated"])["memories"] == []


def test_text_as_of_a_moment_pages_over_memories_and_versions(worker):
    worker.store(*(note(f"k{number}", "word") for number in range(6)))
    (then,) = worker.store(note("last", "word"))
    worker.store(*(note(f"k{number}", "changed") for number in range(3)))
    found = all_pages(worker, limit=2, text="word", as_of=then["updated"], session_id="s1")
    assert [memory["key"] for memory in found] == ["last", "k5", "k4", "k3", "k2", "k1", "k0"]
    assert {memory["content"] for memory in found} == {"word"}
