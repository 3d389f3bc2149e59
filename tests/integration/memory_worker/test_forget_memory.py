"""forget_memory and memory_history on a real database."""

from typing import Any

import orjson
import pytest

from shared.messages import new_id
from tests.integration.handling import events_of, result_of


def note(key: str | None = "k", content: Any = "text", **more: Any) -> dict[str, Any]:
    return {"session_id": "s1", "type": "fact", "content": content, **({"key": key} if key else {}), **more}


def forget(worker: Any, key: str = "k", sender: str = "eve", **more: Any) -> Any:
    (outcome,) = worker.run(
        worker.commit(worker.command("forget_memory", {"session_id": "s1", "key": key, **more}, sender=sender))
    )
    return outcome


def history(worker: Any, key: str = "k", **more: Any) -> Any:
    return worker.ask("memory_history", session_id="s1", key=key, **more)


def test_history_tells_of_each_version_who_said_so_in_which_message_replacing_what(worker):
    stored = [worker.store(note("k", n), sender=who)[0] for n, who in enumerate(("ada", "bob", "cyd"))]
    versions = history(worker)["versions"]
    assert [each["version"] for each in versions] == [3, 2, 1]
    assert [each["replaces"] for each in versions] == [2, 1, None]
    assert [each["author"] for each in versions] == ["cyd", "bob", "ada"]
    assert [each["message_id"] for each in reversed(versions)] == [each["message_id"] for each in stored]
    assert [each["replaced"] for each in versions] == [None, versions[0]["updated"], versions[1]["updated"]]
    assert [each["forgotten"] for each in versions] == [None] * 3


def test_history_comes_in_pages(worker):
    worker.store(*(note("k", n) for n in range(5)))
    first = history(worker, limit=2)
    second = history(worker, limit=2, cursor=first["next"])
    third = history(worker, limit=2, cursor=second["next"])
    assert [each["version"] for page in (first, second, third) for each in page["versions"]] == [5, 4, 3, 2, 1]
    assert third["next"] is None


def test_history_tells_an_unknown_key_from_an_unknown_session(worker):
    assert history(worker, "nothing")["message"] == "session 's1' has no memory 'nothing'"
    unknown = worker.ask("memory_history", session_id="nowhere", key="k")
    assert unknown["message"] == "session 'nowhere' does not exist"
    assert history(worker, cursor="x")["code"] == "invalid"


def test_a_forgotten_memory_is_nowhere_and_the_fact_is_kept(worker):
    contents = [f"secret{n} words" for n in range(3)]
    worker.store(*(note("k", content, tags=[content]) for content in contents), note("other", "stays"))
    # As they are once the broker has the events.
    worker.sql("update handled_messages set events = null")
    outcome = forget(worker, reason="it named a customer")
    memory = result_of(outcome)["memory"]
    assert (memory["content"], memory["tags"], memory["version"]) == (None, [], 3)
    fact = memory["forgotten"]
    assert (fact["by"], fact["reason"]) == ("eve", "it named a customer")
    (event,) = events_of(outcome)
    assert (event["type"], event["memory"]) == ("memory_forgotten", memory)
    assert outcome.events[0].routing_key == "memory.s1.forgotten"
    for table in ("memories", "memory_versions", "handled_messages"):
        (text,) = worker.sql(f"select string_agg({table}::text, '') as all from {table}")
        assert "secret" not in text.all, table
    assert [each["forgotten"] for each in history(worker)["versions"]] == [fact] * 3
    assert worker.ask("query_memories", text="secret1 or secret2")["memories"] == []
    assert [each["key"] for each in worker.ask("query_memories")["memories"]] == ["other"]
    assert worker.sql("select memory_count from sessions where id = 's1'")[0].memory_count == 1


def test_a_forgotten_memory_is_not_found_and_the_error_says_why(worker):
    (stored,) = worker.store(note("k", "secret"))
    fact = result_of(forget(worker, reason="private"))["memory"]["forgotten"]
    for more in ({}, {"as_of": stored["updated"]}):
        error = worker.ask("retrieve_memory", session_id="s1", key="k", **more)
        assert error["code"] == "not_found"
        assert error["message"].endswith(f"was forgotten at {fact['at']} by 'eve': private")
        assert error["details"]["forgotten"] == fact
    assert worker.ask("query_memories", as_of=stored["updated"])["memories"] == []


def test_forgetting_again_changes_nothing_and_tells_nobody(worker):
    worker.store(note())
    first = forget(worker, reason="once")
    again = forget(worker, sender="mallory", reason="twice")
    assert result_of(again) == result_of(first)
    assert again.events == []
    assert worker.sql("select memory_count from sessions where id = 's1'")[0].memory_count == 0


def test_what_was_forgotten_can_be_known_again_as_the_next_version(worker):
    worker.store(note("k", 1), note("k", 2))
    forget(worker)
    refused, again = worker.store(note("k", 3, if_version=1), note("k", 3, if_version=2))
    assert refused["code"] == "conflict"
    assert (again["version"], again["replaces"], again["content"]) == (3, 2, 3)
    assert worker.ask("retrieve_memory", session_id="s1", key="k")["memory"] == again
    assert [each["forgotten"] is None for each in history(worker)["versions"]] == [True, False, False]
    assert worker.sql("select memory_count from sessions where id = 's1'")[0].memory_count == 1


def test_a_guard_of_zero_allows_for_a_forgotten_memory(worker):
    worker.store(note("k", 1))
    forget(worker)
    assert worker.store(note("k", 2, if_version=0))[0]["version"] == 2


def test_forgetting_keeps_the_facts_of_earlier_forgetting(worker):
    worker.store(note("k", 1))
    forget(worker, reason="first")
    worker.store(note("k", 2))
    forget(worker, reason="second")
    assert [each["forgotten"]["reason"] for each in history(worker)["versions"]] == ["second", "first"]


def test_the_update_after_forgetting_tells_no_difference_to_what_was_erased(worker):
    worker.store(note("k", {"a": 1, "b": "long enough for a patch to be smaller than the whole"}))
    forget(worker)
    worker.sql("update memories set updated = updated - interval '1 second'")
    (outcome,) = worker.run(worker.write(note("k", {"a": 2})))
    (event,) = events_of(outcome)
    assert (event["count"], event["delta"], event["delta_omitted"]) == (1, None, "forgotten")


@pytest.mark.parametrize(("session", "key"), [("s1", "nothing"), ("nowhere", "k")])
def test_what_is_not_there_cannot_be_forgotten(worker, session, key):
    command = worker.command("forget_memory", {"session_id": session, "key": key})
    (outcome,) = worker.run(worker.commit(command))
    assert result_of(outcome)["code"] == "not_found"


def test_a_closed_session_forgets_too(worker):
    worker.store(note())
    worker.sql("update sessions set status = 'completed'")
    assert result_of(forget(worker))["memory"]["forgotten"]["by"] == "eve"


def test_a_repeated_store_after_forgetting_answers_without_the_content(worker):
    command = worker.command("store_memory", note("k", {"secret": [1, "x"]}, tags=["t]"]), message_id=new_id())
    worker.run(worker.commit(command))
    forget(worker)
    (again,) = worker.run(worker.commit(command))
    memory = orjson.loads(again.reply)["result"]["memory"]
    assert (memory["content"], memory["tags"], memory["version"]) == (None, [], 1)
