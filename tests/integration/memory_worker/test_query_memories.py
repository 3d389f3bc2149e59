"""query_memories on a real database: filters, pages, moments and full text."""

from itertools import pairwise
from typing import Any

import pytest

from services.memory_worker.store import memories, search


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


@pytest.fixture(scope="module")
def many(module_worker) -> Any:
    """100,000 memories: `common` in all of them, `third` in every third, `rare` in ten; the newest 100 say `news`."""
    module_worker.open_sessions("s1", *(f"m{number}" for number in range(100)))
    module_worker.sql("""
        insert into memories (session_id, key, type, content, author, message_id, created, updated)
        select 'm' || n % 100, 'k' || n, 'fact',
            to_json('common' || case when n % 3 = 0 then ' third' else '' end
                || case when n % 10000 = 5 then ' rare' else '' end || case when n > 99900 then ' news' else '' end),
            'ada', n::text, now() - (100000 - n) * interval '1 second', now() - (100000 - n) * interval '1 second'
        from generate_series(1, 100000) as n
    """)
    return module_worker


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def analyzed(many, request) -> Any:
    if request.param == "analyzed":
        many.sql("analyze memories")
    return many


def plan_of(worker: Any, words: str, **wanted: Any) -> str:
    named = {"session_id": None, "type": None, "tags": None, "as_of": None, **wanted}

    async def explain() -> str:
        async with worker.database.reading() as tx:
            statement, values = await search.search_statement(tx, search.Filter(**named), words, None, 51)
            explained = f"explain (analyze, costs off, timing off, summary off, buffers off) {statement}"
            return "\n".join(line for (line,) in await memories.rows_of(tx, explained, values))

    return worker.run(explain())


def line_of(plan: str, node: str) -> str:
    (line,) = [line for line in plan.splitlines() if node in line]
    return line


def test_a_rare_word_is_one_scan_of_the_full_text_index(many):
    many.sql("analyze memories")
    plan = plan_of(many, "rare")
    assert plan.count("Bitmap Index Scan on memories_search") == 1
    assert "Seq Scan" not in plan
    assert "never executed" in line_of(plan, "Index Scan using memories_newest")


def test_a_word_in_every_memory_is_answered_from_a_bounded_part(many):
    many.sql("analyze memories")
    plan = plan_of(many, "common")
    assert f"actual rows={search.ENOUGH}" in line_of(plan, "Index Scan using memories_newest")
    assert "memories_search" not in plan


def test_a_filter_that_leads_to_few_finds_all_of_them_whatever_the_word(many):
    many.sql("analyze memories")
    within = plan_of(many, "common", session_id="m7")
    assert "memories_newest" not in within
    found = many.ask("query_memories", text="common", session_id="m7", limit=100)
    assert len(found["memories"]) == 100
    assert found["next"] is not None


def test_the_newest_matches_of_a_frequent_word_are_found(analyzed):
    assert keys(analyzed.ask("query_memories", text="common", limit=3)) == ["k100000", "k99999", "k99998"]
    found = analyzed.ask("query_memories", text="third", limit=5)["memories"]
    assert [memory["key"] for memory in found] == ["k99999", "k99996", "k99993", "k99990", "k99987"]
    assert keys(analyzed.ask("query_memories", text="news", limit=2)) == ["k100000", "k99999"]


def test_pages_of_a_frequent_word_go_on_in_order(analyzed):
    first = analyzed.ask("query_memories", text="common third", limit=100)
    second = analyzed.ask("query_memories", text="common third", limit=100, cursor=first["next"])
    moments = [memory["updated"] for memory in first["memories"] + second["memories"]]
    assert len(moments) == 200
    assert all(before > after for before, after in pairwise(moments))
