"""delegate_task, get_task and list_tasks on a real database."""

from uuid import UUID

import orjson
import pytest


def test_a_delegated_task_waits_in_its_agents_queue(worker):
    task = worker.delegate(description="look", input_data={"a": [1]}, priority=7, max_attempts=2)
    assert UUID(task["task_id"]).version == 7
    assert (task["status"], task["attempt"], task["priority"], task["max_attempts"]) == ("pending", 0, 7, 2)
    assert task["input_data"] == {"a": [1]}
    assert (task["claimed_by"], task["started"], task["completed"], task["output_data"]) == (None,) * 4
    assert worker.ask("get_task", task_id=task["task_id"])["task"] == task


def test_the_event_carries_the_task_and_the_session_counts_it(worker):
    asked = ("delegate_task", {"session_id": "s1", "agent_name": "codex", "task_type": "t"})
    outcomes = worker.run(worker.write(asked, asked))
    for number, outcome in enumerate(outcomes, 1):
        assert outcome.events[0].routing_key == "task.s1.created"
        event = orjson.loads(outcome.events[0].body)
        assert (event["type"], event["session_id"], event["session_seq"]) == ("task_created", "s1", number)
        assert event["task"] == orjson.loads(outcome.reply)["result"]["task"]
    assert worker.sql("select task_count from sessions where id = 's1'")[0].task_count == 2


def test_an_unknown_agent_is_not_found_and_those_registered_are_named(worker):
    asked = {"session_id": "s1", "agent_name": "nobody", "task_type": "t"}
    refused = worker.run(worker.do("delegate_task", **asked))
    assert refused["code"] == "not_found"
    assert refused["message"] == ("agent 'nobody' is not registered; registered are: claude_code, codex, researcher")
    assert worker.sql("select count(*) as n from tasks")[0].n == 0
    assert worker.sql("select task_count from sessions where id = 's1'")[0].task_count == 0


def test_an_unknown_task_is_not_found(worker):
    refused = worker.ask("get_task", task_id="nothing")
    assert (refused["code"], refused["message"]) == ("not_found", "task 'nothing' does not exist")


EXACT = [
    "1e5",
    "1.0",
    str(2**70),
    '{"b":1,"a":2}',
    '"\\u00e9\\ud83d\\ude00 \\/"',
    '"é😀 \u2028"',
    "null",
    "[" * 60 + "]" * 60,
]


@pytest.mark.parametrize("value", EXACT)
def test_input_and_output_come_out_as_the_text_that_went_in(worker, value):
    body = '{"session_id": "s1", "agent_name": "codex", "task_type": "t", "input_data": %s}'
    (outcome,) = worker.run(worker.write(("delegate_task", body.replace("%s", value))))
    task_id = orjson.loads(outcome.reply)["result"]["task"]["task_id"]
    claim = {"agent_name": "codex", "worker_id": "w1"}
    (claimed,) = worker.run(worker.write(("claim_task", claim)))
    token = orjson.loads(claimed.reply)["result"]["tasks"][0]["lease_token"]
    done = '{"task_id": "%s", "lease_token": "%s", "output_data": %s}'
    (completed,) = worker.run(worker.write(("complete_task", done % (task_id, token, value))))
    asked = worker.ask_text("get_task", task_id=task_id)
    for text in (outcome.reply, claimed.reply, claimed.events[0].body.encode(), completed.reply, asked):
        assert f'"input_data":{value},'.encode() in text
    for text in (completed.reply, completed.events[0].body.encode(), asked):
        assert f'"output_data":{value},'.encode() in text


def test_tasks_are_listed_the_newest_first_by_session_agent_and_status(worker):
    first, second = worker.delegate("codex"), worker.delegate("researcher")
    third = worker.run(worker.do("delegate_task", session_id="s2", agent_name="codex", task_type="t"))["task"]
    worker.claim("researcher")

    def ids(**query: str) -> list[str]:
        return [task["task_id"] for task in worker.ask("list_tasks", **query)["tasks"]]

    assert ids() == [third["task_id"], second["task_id"], first["task_id"]]
    assert ids(session_id="s1") == [second["task_id"], first["task_id"]]
    assert ids(agent_name="codex") == [third["task_id"], first["task_id"]]
    assert ids(status="claimed") == [second["task_id"]]
    assert ids(session_id="s1", agent_name="codex", status="pending") == [first["task_id"]]
    assert ids(session_id="nowhere") == []


def test_pages_meet_even_among_tasks_of_one_moment(worker):
    worker.sql("""
        insert into tasks (id, session_id, agent_name, queue, task_type, created)
        select 't' || n, 's1', 'codex', 1, 't', timestamptz '2026-01-01' + (n / 4) * interval '1 second'
        from generate_series(10, 34) as n
    """)
    found, cursor = [], None
    while True:
        page = worker.ask("list_tasks", limit=3, **({"cursor": cursor} if cursor else {}))
        found += [task["task_id"] for task in page["tasks"]]
        if (cursor := page["next"]) is None:
            break
    assert found == [f"t{number}" for number in reversed(range(10, 35))]


@pytest.mark.parametrize("cursor", ["x", "é", "bnVsbA", "WyIyMDI2LTAxLTAxIiwiYSJd"])
def test_a_cursor_of_ones_own_making_is_invalid(worker, cursor):
    assert worker.ask("list_tasks", cursor=cursor)["code"] == "invalid"
