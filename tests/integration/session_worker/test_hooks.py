"""Hooks of Claude Code on a real database."""

import asyncio
import json

from shared.messages import new_id

PRE = {"session_id": "c1", "hook_event_name": "PreToolUse", "cwd": "/home/ada/shop", "tool_name": "Bash",
       "tool_input": {"command": "ls"}, "tool_use_id": "t1"}  # fmt: skip
POST = {**PRE, "hook_event_name": "PostToolUse", "tool_response": {"stdout": "a"}}


def a_hook(worker, hook, message_id=None):
    data = {"session_id": hook["session_id"], "event": hook["hook_event_name"], "hook": hook}
    return worker.command("receive_claude_hook", data, message_id=message_id or new_id())


def test_the_first_hook_opens_the_session_and_a_tools_call_gets_its_response(worker):
    first, second = worker.outcomes(a_hook(worker, PRE), a_hook(worker, POST))
    told = [json.loads(each.body) for each in (*first.events, *second.events)]
    assert [each["type"] for each in told] == ["session_created", "action_logged", "response_logged"]
    assert [each["session_seq"] for each in told] == [1, 2, 3]
    assert {each["trust"] for each in told} == {"untrusted"}
    session = worker.ask("get_session", session_id="c1")["session"]
    assert (session["title"], session["action_count"], session["response_count"]) == ("Claude Code in shop", 1, 1)
    page = worker.ask("get_actions", session_id="c1")
    assert page["actions"][0]["action_id"] == page["responses"][0]["action_id"] == "t1"
    assert page["actions"][0]["details"] == PRE
    assert page["responses"][0]["content"] == {"stdout": "a"}
    assert [page["actions"][0]["number"], page["responses"][0]["number"]] == [1, 2]


def test_a_hook_a_hundred_times_at_once_is_one_action_and_one_session(worker):
    async def all_at_once():
        return await asyncio.gather(*(worker.commit(a_hook(worker, PRE, "m1")) for _ in range(100)))

    outcomes = [outcome for (outcome,) in worker.run(all_at_once())]
    assert len({outcome.reply for outcome in outcomes}) == 1
    assert worker.sql("select count(*) from actions")[0][0] == worker.sql("select count(*) from sessions")[0][0] == 1


def test_hooks_of_one_session_at_once_are_all_noted(worker):
    async def all_at_once():
        stops = [{**PRE, "hook_event_name": "Stop", "n": n} for n in range(30)]
        return await asyncio.gather(*(worker.commit(a_hook(worker, stop)) for stop in stops))

    worker.run(all_at_once())
    assert [row.number for row in worker.sql("select number from actions order by 1")] == list(range(1, 31))


def test_another_hook_of_the_same_call_is_noted_under_its_messages_id(worker):
    worker.outcomes(a_hook(worker, PRE), a_hook(worker, {**PRE, "tool_name": "Else"}, "m2"))
    assert {row.action_id for row in worker.sql("select action_id from actions")} == {"t1", "m2"}


def test_a_hook_that_comes_again_after_its_record_has_expired_is_not_noted_twice(worker):
    stop = {**PRE, "hook_event_name": "Stop"}
    worker.outcomes(a_hook(worker, stop, "m1"))
    worker.sql("delete from handled_messages")
    (late,) = worker.outcomes(a_hook(worker, stop, "m1"))
    assert (late.outcome, late.events) == ("ok", [])


def test_a_closed_session_is_not_written_to_but_the_hook_is_told(worker):
    worker.outcomes(a_hook(worker, PRE))
    worker.do("complete_session", session_id="c1")
    (outcome,) = worker.outcomes(a_hook(worker, POST))
    (event,) = [json.loads(each.body) for each in outcome.events]
    assert (event["type"], event["status"], event["hook"]) == ("late_hook", "completed", POST)
    assert outcome.events[0].routing_key == "session.c1.hook"
    assert worker.sql("select count(*) from responses")[0][0] == 0


def test_hooks_go_into_a_session_that_is_there_or_paused(worker):
    worker.do("create_session", session_id="c1", title="mine")
    worker.do("pause_session", session_id="c1")
    worker.outcomes(a_hook(worker, PRE))
    assert worker.ask("get_session", session_id="c1")["session"]["title"] == "mine"
    assert worker.sql("select count(*) from actions")[0][0] == 1
