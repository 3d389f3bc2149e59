"""conversation_chunk on a real database."""

import asyncio
import random

import pytest


@pytest.fixture(autouse=True)
def _sessions(worker):
    worker.do("create_session", session_id="s1")
    worker.do("create_session", session_id="s2")


def test_a_chunk_is_kept_with_the_items_found_in_it(worker):
    chunk = worker.do("conversation_chunk", session_id="s1", chunk_id="c1", content="Why? We decided: now.")["chunk"]
    assert (chunk["chunk_id"], chunk["format"], chunk["metadata"]) == ("c1", "dialogue", {})
    assert chunk["extracted_items"] == {
        "ideas": [], "decisions": ["We decided: now."], "questions": ["Why?"], "action_items": [],
    }  # fmt: skip
    (row,) = worker.sql("select *, extracted_items::text as items from conversation_chunks")
    assert (row.content, row.items.startswith('{"ideas"')) == ("Why? We decided: now.", True)


def test_metadata_keeps_its_words(worker):
    text = '{"session_id":"s1","content":"x","metadata":{"n":1e5,"big":36893488147419103232,"b":0,"a":-0.0}}'
    (outcome,) = worker.outcomes(worker.command("conversation_chunk", text))
    metadata = '{"n":1e5,"big":36893488147419103232,"b":0,"a":-0.0}'
    assert metadata.encode() in outcome.reply
    assert metadata in outcome.events[0].body
    assert worker.sql("select metadata::text as it from conversation_chunks")[0].it == metadata


def test_metadata_may_be_null(worker):
    chunk = worker.do("conversation_chunk", '{"session_id":"s1","content":"x","metadata":null}')["chunk"]
    assert chunk["metadata"] is None


def test_a_chunk_id_is_made_and_told(worker):
    (outcome,) = worker.outcomes(worker.command("conversation_chunk", {"session_id": "s1", "content": "x"}))
    assert worker.sql("select chunk_id from conversation_chunks")[0].chunk_id.encode() in outcome.reply
    assert outcome.events[0].routing_key == "session.s1.chunk"


def test_a_chunk_id_again_is_a_conflict_in_another_batch_and_in_the_same(worker):
    def chunk(chunk_id, content, session="s1"):
        return worker.command("conversation_chunk", {"session_id": session, "chunk_id": chunk_id, "content": content})

    first = worker.outcomes(chunk("c1", "one"), chunk("c2", "two"), chunk("c1", "again"), chunk("c1", "other", "s2"))
    assert [each.outcome for each in first] == ["ok", "ok", "conflict", "ok"]
    second = worker.outcomes(chunk("c2", "again"), chunk("c3", "three"))
    assert [each.outcome for each in second] == ["conflict", "ok"]
    rows = worker.sql("select session_id, chunk_id, content from conversation_chunks order by 1, 2")
    assert [tuple(row) for row in rows] == [
        ("s1", "c1", "one"), ("s1", "c2", "two"), ("s1", "c3", "three"), ("s2", "c1", "other"),
    ]  # fmt: skip
    counts = worker.sql("select id, conversation_chunk_count, seq from sessions order by id")
    assert [tuple(row) for row in counts] == [("s1", 3, 4), ("s2", 1, 2)]


def test_the_order_of_a_batch_is_the_order_of_the_conversation(worker):
    commands = [worker.command("conversation_chunk", {"session_id": "s1", "content": str(n)}) for n in range(100)]
    worker.outcomes(*commands)
    rows = worker.sql("select content from conversation_chunks order by created")
    assert [row.content for row in rows] == [str(n) for n in range(100)]


def test_a_hundred_at_once_with_one_chunk_id_are_one_chunk(worker):
    async def all_at_once():
        chunk = {"session_id": "s1", "chunk_id": "c1", "content": "x"}
        return await asyncio.gather(*(worker.commit(worker.command("conversation_chunk", chunk)) for _ in range(100)))

    ends = sorted(outcome.outcome for (outcome,) in worker.run(all_at_once()))
    assert ends == ["conflict"] * 99 + ["ok"]
    assert worker.sql("select conversation_chunk_count from sessions where id = 's1'")[0][0] == 1


def test_nothing_is_written_to_a_missing_or_closed_session(worker):
    worker.do("complete_session", session_id="s2")
    assert worker.do("conversation_chunk", session_id="none", content="x")["code"] == "not_found"
    assert worker.do("conversation_chunk", session_id="s2", content="x")["code"] == "conflict"
    worker.do("pause_session", session_id="s1")
    assert "chunk" in worker.do("conversation_chunk", session_id="s1", content="x")


def test_the_longest_text_of_rare_words_is_kept_and_found_by_its_beginning(worker):
    letters = [chr(code) for code in range(0x20000, 0x2A000)]
    rare = " ".join("-".join("".join(random.choices(letters, k=2)) for _ in range(2)) for _ in range(160_000))
    for content in (rare[:1_000_000], "ß" * 1_000_000, "a-" * 500_000, "needle " + "x1-y2 " * 160_000):
        assert "chunk" in worker.do("conversation_chunk", session_id="s1", content=content)
    found = worker.sql("select count(*) from conversation_chunks where search @@ to_tsquery('english', 'needle')")
    assert found[0][0] == 1
