"""Text that is only a recalled memory sent back is not stored again."""

import json
from typing import Any

import pytest

from shared.bus.commit import Outcome
from tests.integration.handling import events_of, result_of

TEXT = 'We move the "queue" to PostgreSQL first'


def note(content: Any, key: str | None = None, session: str = "s1", **more: Any) -> dict[str, Any]:
    return {"session_id": session, "type": "decision", "content": content, **({"key": key} if key else {}), **more}


def one(worker: Any, data: dict[str, Any]) -> Outcome:
    (outcome,) = worker.run(worker.write(data, sender="echo"))
    return outcome


def count(worker: Any) -> int:
    return worker.sql("select count(*) as n from memories")[0].n


@pytest.mark.parametrize(
    "echo",
    [
        TEXT,
        '  we move THE "queue"\n to   postgresql\tfirst ',
        '\uff37e move the "queue" to PostgreSQL first',
        f"> {TEXT}",
        '> We move the "queue"\n> to PostgreSQL first\n',
        f"“{TEXT}”",
        f"```\n{TEXT}\n```",
        "We move the &quot;queue&quot; to <mark>PostgreSQL</mark> first",
    ],
)
def test_the_same_text_however_it_is_quoted_is_the_memory_it_came_from(worker, echo):
    (stored,) = worker.store(note(TEXT, "plan", tags=["queue"]), sender="ada")
    outcome = one(worker, note(echo, type="fact"))
    assert result_of(outcome) == {"memory": stored, "recalled": True}
    assert outcome.events == []
    assert count(worker) == 1
    assert worker.sql("select seq, memory_count from sessions where id = 's1'")[0] == (1, 1)


def test_a_memory_as_our_doors_print_it_is_recognised(worker):
    (stored,) = worker.store(note({"z": 1, "a": [TEXT]}, "plan"))
    found = worker.ask("query_memories", text="queue")["memories"][0]
    for echo in (stored, found, {"memory": stored}, json.dumps({"memory": stored}, indent=2), {"a": [TEXT], "z": 1}):
        assert result_of(one(worker, note(echo)))["recalled"] is True
    assert count(worker) == 1


@pytest.mark.parametrize(
    "other", ["We move the queue to PostgreSQL first", [TEXT], {"content": TEXT}, f"{TEXT}: yes", f'"{TEXT}" or not']
)
def test_what_says_something_else_is_stored(worker, other):
    worker.store(note(TEXT, "plan"))
    assert result_of(one(worker, note(other)))["recalled"] is False
    assert count(worker) == 2


@pytest.mark.parametrize("content", [42, True, None, 1.5, "", "  "])
def test_what_says_nothing_is_stored_each_time(worker, content):
    worker.store(note(content), note(content))
    assert result_of(one(worker, note(content)))["recalled"] is False
    assert count(worker) == 3


def test_another_session_remembers_for_itself(worker):
    worker.store(note(TEXT, "plan"))
    assert result_of(one(worker, note(TEXT, session="s2")))["recalled"] is False


def test_with_a_key_it_is_a_new_version_even_if_it_is_equal(worker):
    worker.store(note(TEXT, "plan"))
    again, other = worker.store(note(TEXT, "plan"), note(TEXT, "copy"))
    assert (again["version"], other["version"]) == (2, 1)


def test_only_a_memory_in_force_is_recalled(worker):
    worker.store(note("old", "plan"), note("secret", "gone"))
    worker.store(note("new", "plan"))
    worker.run(worker.commit(worker.command("forget_memory", {"session_id": "s1", "key": "gone"})))
    for content in ("old", "secret"):
        assert result_of(one(worker, note(content)))["recalled"] is False


def test_the_same_text_twice_in_one_batch_is_stored_once(worker):
    outcomes = worker.run(worker.write(note(TEXT), note(TEXT.upper()), note("other"), note(TEXT, session="s2")))
    first, second, other, elsewhere = (result_of(outcome) for outcome in outcomes)
    assert second == {"memory": first["memory"], "recalled": True}
    assert (other["recalled"], elsewhere["recalled"]) == (False, False)
    assert [len(events_of(outcome)) for outcome in outcomes] == [1, 0, 1, 1]


def test_a_key_given_before_in_the_same_batch_is_recalled_and_one_given_later_is_not(worker):
    outcomes = worker.run(worker.write(note("one"), note("one", "k"), note("two", "l"), note("two")))
    stored = [result_of(outcome) for outcome in outcomes]
    assert [each["recalled"] for each in stored] == [False, False, False, True]
    assert stored[3]["memory"] == stored[2]["memory"]
    assert count(worker) == 3


def test_without_a_key_no_version_can_be_expected(worker):
    (refused,) = worker.store(note(TEXT, if_version=3))
    assert (refused["code"], refused["details"]["version"]) == ("conflict", 0)
    assert count(worker) == 0
