"""store_memory on a real database."""

import asyncio
import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import orjson
import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from services.memory_worker import memories
from services.memory_worker.handlers import store_memory
from services.memory_worker.store import memories as store
from shared.database import is_transient
from shared.messages import decode_command, encode_command, new_id


def note(key: str | None = "k", content: Any = "text", session: str = "s1", **more: Any) -> dict[str, Any]:
    return {"session_id": session, "type": "fact", "content": content, **({"key": key} if key else {}), **more}


def test_a_new_memory_is_version_one_with_its_author_and_message(worker):
    (memory,) = worker.store(note("k", {"a": 1}, tags=["x", 'say "hi"', "a,b", "{}", "ünï", "NULL"]), sender="grace")
    assert memory["version"] == 1
    assert (memory["author"], memory["key"], memory["type"]) == ("grace", "k", "fact")
    assert memory["tags"] == ["x", 'say "hi"', "a,b", "{}", "ünï", "NULL"]
    assert memory["created"] == memory["updated"]
    assert worker.ask("retrieve_memory", session_id="s1", key="k")["memory"] == memory
    assert worker.sql("select message_id from memories")[0].message_id == memory["message_id"]


def test_the_reply_and_the_event_carry_the_whole_memory(worker):
    (outcome,) = worker.run(worker.write(note("k", {"a": [1, None]}), sender="grace"))
    (event,) = [orjson.loads(each.body) for each in outcome.events]
    assert outcome.events[0].routing_key == "memory.s1.updated"
    assert event["type"] == "memory_update"
    assert (event["context_id"], event["session_id"], event["session_seq"]) == ("s1", "s1", 1)
    assert event["exchange"] == orjson.loads(outcome.reply)["result"]["memory"]
    assert event["exchange"]["content"] == {"a": [1, None]}


def test_a_key_again_is_a_new_version_and_the_old_one_is_kept(worker):
    (first,) = worker.store(note("k", "one", tags=["old"]), sender="ada")
    (second,) = worker.store(note("k", "two", type="decision"), sender="bob")
    assert (second["version"], second["type"], second["author"], second["tags"]) == (2, "decision", "bob", [])
    assert second["created"] == first["created"]
    assert second["updated"] > first["updated"]
    (old,) = worker.sql("select *, content::text as words from memory_versions")
    assert (old.version, old.words, old.author, old.tags, old.type) == (1, '"one"', "ada", ["old"], "fact")
    assert old.message_id == first["message_id"]
    (now,) = worker.sql("select updated, version from memories")
    assert old.replaced == now.updated


def test_only_new_keys_are_counted(worker, monkeypatch):
    # However slow the machine, the events of a's second and third version are told later, as one.
    monkeypatch.setattr(store, "TOLD_APART", timedelta(hours=1))
    worker.store(note("a"), note("b"), note("a"))
    worker.store(note("a"), note("c", session="s2"))
    rows = worker.sql("select id, memory_count, seq from sessions order by id")
    assert [tuple(row) for row in rows] == [("s1", 2, 2), ("s2", 1, 1)]


def test_a_key_named_again_in_a_batch_makes_versions_in_order(worker):
    replies = worker.store(note("k", 1), note("other", 0), note("k", 2), note("k", 3), note("k", 4, session="s2"))
    assert [memory["version"] for memory in replies] == [1, 1, 2, 3, 1]
    assert [memory["content"] for memory in replies] == [1, 0, 2, 3, 4]
    versions = worker.sql("select version, content::text, updated, replaced from memory_versions order by version")
    assert [(row.version, row.content) for row in versions] == [(1, "1"), (2, "2")]
    assert all(row.updated < row.replaced for row in versions)
    assert versions[0].replaced == versions[1].updated


def test_a_hundred_times_the_same_key_makes_a_hundred_versions(worker):
    replies = worker.store(*(note("k", number) for number in range(100)))
    assert [memory["version"] for memory in replies] == list(range(1, 101))
    assert worker.sql("select count(*) as n from memory_versions")[0].n == 99


def test_a_memory_without_a_key_gets_a_readable_one(worker):
    replies = worker.store(*(note(None, number, type="action_item") for number in range(20)))
    keys = [memory["key"] for memory in replies]
    assert len(set(keys)) == 20
    assert all(re.fullmatch(r"action_item-[a-z2-7]{8}", key) for key in keys)
    assert {memory["version"] for memory in replies} == {1}


def test_a_made_key_that_is_taken_is_made_again(worker, monkeypatch):
    made = iter(["fact-taken", "fact-taken", "fact-free"])
    monkeypatch.setattr(memories, "make_key", lambda type: next(made))
    first, second = worker.store(note(None, "mine"), note(None, "yours"))
    assert (first["key"], second["key"]) == ("fact-taken", "fact-free")
    assert worker.sql("select count(*) as n from memory_versions")[0].n == 0


@pytest.mark.parametrize(
    ("if_version", "stands_at", "message"),
    [
        (0, 2, "memory 'k' is at version 2, and `if_version` is 0"),
        (1, 2, "memory 'k' is at version 2, and `if_version` is 1"),
        (3, 2, "memory 'k' is at version 2, and `if_version` is 3"),
        (1, 0, "memory 'k' does not exist, and `if_version` is 1"),
    ],
)
def test_if_version_refuses_another_version_and_names_the_one_in_force(worker, if_version, stands_at, message):
    for number in range(stands_at):
        worker.store(note("k", number))
    refused, neighbour = worker.store(note("k", "new", if_version=if_version), note("other", "new"))
    assert refused["code"] == "conflict"
    assert refused["message"] == message
    assert refused["details"] == {"key": "k", "version": stands_at, "if_version": if_version}
    assert neighbour["version"] == 1
    assert worker.sql("select count(*) as n from memories where content::text = '\"new\"'")[0].n == 1


def test_if_version_lets_the_right_version_pass(worker):
    replies = worker.store(*(note("k", number, if_version=number) for number in range(4)))
    assert [memory["version"] for memory in replies] == [1, 2, 3, 4]


def test_guards_in_one_batch_see_what_went_before_them(worker):
    replies = worker.store(
        note("k", "a", if_version=1),
        note("k", "b", if_version=0),
        note("k", "c", if_version=0),
        note("k", "d", if_version=1),
        note("k", "e"),
        note("k", "f", if_version=7),
    )
    assert [reply.get("version", reply.get("code")) for reply in replies] == [
        "conflict",
        1,
        "conflict",
        2,
        3,
        "conflict",
    ]
    assert [reply["details"]["version"] for reply in replies if "details" in reply] == [0, 1, 3]


def test_of_many_writers_with_one_guard_exactly_one_wins(worker):
    worker.store(note("k", "start"))

    async def race() -> list[Any]:
        return await asyncio.gather(*(worker.write(note("k", number, if_version=1)) for number in range(5)))

    replies = [orjson.loads(outcome.reply) for (outcome,) in worker.run(race())]
    assert sorted(reply["ok"] for reply in replies) == [False] * 4 + [True]
    assert worker.sql("select version from memories")[0].version == 2


def test_writers_of_one_key_at_once_lose_no_version(worker):
    async def race() -> None:
        await asyncio.gather(*(worker.write(*(note("k", [writer, n]) for n in range(10))) for writer in range(5)))

    worker.run(race())
    rows = worker.sql(
        "select version, updated, replaced from memory_versions union all select version, updated, null from memories"
        " order by version"
    )
    assert [row.version for row in rows] == list(range(1, 51))
    assert all(before.replaced == after.updated for before, after in pairwise(rows))


EXACT = [
    "1e5",
    "1.0",
    "-0.0",
    str(2**70),
    "1e300",
    '{"b":1,"a":2,"A":3}',
    '{ "spaced" : [ 1 , 2 ] }',
    '"\\u00e9\\ud83d\\ude00 \\/ \\u2028"',
    '"é😀 漢字 \u2028"',
    "null",
    "true",
    '""',
    "[" * 60 + "]" * 60,
    '{"%s": "100 %", "$1": "?", ":x": "\\\\"}',
]


@pytest.mark.parametrize("content", EXACT)
def test_content_comes_out_as_the_text_that_went_in(worker, content):
    body = '{"session_id": "s1", "type": "fact", "key": "k", "content": %s}'
    (outcome,) = worker.run(worker.write(body.replace("%s", content, 1)))
    asked = worker.ask_text("retrieve_memory", session_id="s1", key="k")
    for text in (outcome.reply, outcome.events[0].body.encode(), asked):
        assert f'"content":{content},'.encode() in text
    worker.store(note("k", "next"))
    assert worker.sql("select content::text as words from memory_versions")[0].words == content


def test_a_content_of_a_megabyte_of_rare_words_is_stored(worker):
    (memory,) = worker.store(note("k", " ".join(f"ab{number}-cd{number}" for number in range(60_000))))
    assert memory["version"] == 1


def test_a_connection_that_breaks_is_a_passing_fault_and_replaced(worker):
    commands = [decode_command(encode_command("store_memory", note(), message_id=new_id(), sender_agent_id="ada"))]

    async def broken() -> None:
        async with worker.database.transaction() as tx:
            pid = (await tx.exec_driver_sql("select pg_backend_pid()")).scalar_one()
            async with worker.database.transaction() as other:
                await other.exec_driver_sql(f"select pg_terminate_backend({pid})")
            await store_memory(tx, commands)

    with pytest.raises((psycopg.Error, DBAPIError)) as raised:
        worker.run(broken())
    assert is_transient(raised.value)
    assert worker.store(note())[0]["version"] == 1
