"""query_memories over many memories: what is looked at is bounded, and what is found is right all the same."""

from itertools import pairwise
from typing import Any

import pytest

from services.memory_worker.store import memories, search


def keys(result: dict[str, Any]) -> list[str]:
    return [memory["key"] for memory in result["memories"]]


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
            wanted = search.Filter(**named)
            expected = await search.prospect(tx, wanted, words)
            statement, values = search.search_statement(wanted, words, expected, None, 51)
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
