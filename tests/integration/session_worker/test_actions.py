"""log_action, log_response and get_actions on a real database."""

import asyncio
from datetime import UTC, datetime
from itertools import count

import pytest

from tests.integration.handling import events_of, result_of

_numbers = count(1)


@pytest.fixture
def session(module_worker) -> str:
    """A fresh session."""
    session_id = f"s{next(_numbers)}"
    module_worker.do("create_session", session_id=session_id)
    return session_id


def action(worker, session_id, **fields):
    return worker.command("log_action", {"session_id": session_id, "type": "step", **fields})


def response(worker, session_id, **fields):
    return worker.command("log_response", {"session_id": session_id, **fields})


def everything(worker, session_id):
    """All that a session noted down as (kind, number, id), page by page."""
    actions = worker.all_pages("get_actions", "actions", session_id=session_id, kind="action", limit=500)
    responses = worker.all_pages("get_actions", "responses", session_id=session_id, kind="response", limit=500)
    found = [("action", each["number"], each["action_id"]) for each in actions]
    found += [("response", each["number"], each["response_id"]) for each in responses]
    return sorted(found, key=lambda each: each[1])


def test_an_action_is_answered_told_of_and_found_as_it_was_sent(module_worker, session):
    details = '{"z":1e5,"a":36893488147419103232,"s":"\\u00e9"}'
    command = module_worker.command(
        "log_action",
        f'{{"session_id":"{session}","action_id":"a1","type":"task_start","details":{details},'
        '"timestamp":"2026-01-31T13:00:00.123456789+01:00","agent_id":"coder"}',
    )
    (outcome,) = module_worker.outcomes(command)
    noted = result_of(outcome)["action"]
    assert (noted["action_id"], noted["number"], noted["type"]) == ("a1", 1, "task_start")
    assert noted["timestamp"] == "2026-01-31T12:00:00.123456Z"
    assert (noted["agent_id"], noted["author"], noted["message_id"]) == ("coder", "ada", command.message_id)
    (event,) = events_of(outcome)
    assert (event["type"], event["action"], event["session_seq"]) == ("action_logged", noted, 2)
    assert outcome.events[0].routing_key == f"session.{session}.action"
    assert module_worker.ask("get_actions", session_id=session) == {"actions": [noted], "responses": [], "next": None}
    for text in (
        outcome.reply,
        outcome.events[0].body.encode(),
        module_worker.ask_text("get_actions", session_id=session),
    ):
        assert f'"details":{details}'.encode() in text
    told = module_worker.ask("get_session", session_id=session)["session"]
    assert (told["action_count"], told["response_count"], told["seq"]) == (1, 0, 2)


def test_a_response_may_name_an_action_that_has_not_come(module_worker, session):
    command = response(module_worker, session, action_id="later", content="\u00e9 done", response_id="r1")
    (outcome,) = module_worker.outcomes(command)
    noted = result_of(outcome)["response"]
    assert (noted["type"], noted["action_id"], noted["content"], noted["details"]) == (
        "response",
        "later",
        "\u00e9 done",
        {},
    )
    (event,) = events_of(outcome)
    assert (event["type"], event["response"]) == ("response_logged", noted)
    assert outcome.events[0].routing_key == f"session.{session}.response"
    assert module_worker.ask("get_actions", session_id=session)["responses"] == [noted]
    assert module_worker.ask("get_session", session_id=session)["session"]["response_count"] == 1


def test_what_is_left_out_is_made_or_empty(module_worker, session):
    noted = module_worker.do("log_action", session_id=session, type="step")["action"]
    assert noted["timestamp"] == noted["created"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(noted["created"])).total_seconds()) < 60
    assert (noted["details"], noted["agent_id"]) == ({}, None)
    answered = module_worker.do("log_response", session_id=session)["response"]
    assert (answered["content"], answered["action_id"], answered["number"]) == (None, None, 2)
    assert noted["action_id"] != answered["response_id"]


@pytest.mark.parametrize("text", ['"\\u00e9\\/"', "null", "1.50", "[1e2]", "true"])
def test_details_and_content_may_be_any_json_and_keep_their_text(module_worker, session, text):
    data = f'{{"session_id":"{session}","content":{text},"details":{text}}}'
    (outcome,) = module_worker.outcomes(module_worker.command("log_response", data))
    assert f'"content":{text},"details":{text}'.encode() in outcome.reply
    assert f'"content":{text},"details":{text}'.encode() in module_worker.ask_text("get_actions", session_id=session)


def test_actions_and_responses_are_numbered_together_in_their_order(module_worker, session):
    made = [action(module_worker, session, action_id="a1"), action(module_worker, session, action_id="a2")]
    made += [response(module_worker, session, response_id="r1"), action(module_worker, session, action_id="a3")]
    made += [response(module_worker, session, response_id="r2"), response(module_worker, session, response_id="r3")]
    assert {outcome.outcome for outcome in module_worker.outcomes(*made)} == {"ok"}
    module_worker.do("log_action", session_id=session, type="step", action_id="a4")
    assert everything(module_worker, session) == [
        ("action", 1, "a1"), ("action", 2, "a2"), ("response", 3, "r1"), ("action", 4, "a3"), ("response", 5, "r2"),
        ("response", 6, "r3"), ("action", 7, "a4"),
    ]  # fmt: skip


def test_a_batch_over_several_sessions_numbers_each_by_itself(module_worker, session):
    other = f"{session}-other"
    module_worker.do("create_session", session_id=other)
    module_worker.do("log_action", session_id=other, type="step", action_id="before")
    commands = [action(module_worker, [session, other][n % 2], action_id=f"a{n}") for n in range(100)]
    numbers = [result_of(outcome)["action"]["number"] for outcome in module_worker.outcomes(*commands)]
    assert numbers[0::2] == list(range(1, 51))
    assert numbers[1::2] == list(range(2, 52))


def test_an_id_that_is_taken_is_a_conflict_and_takes_no_number(module_worker, session):
    first = module_worker.outcomes(
        action(module_worker, session, action_id="a1", details=1),
        action(module_worker, session, action_id="a1", details=2),
        action(module_worker, session, action_id="a2"),
    )
    assert [outcome.outcome for outcome in first] == ["ok", "conflict", "ok"]
    second = module_worker.outcomes(
        action(module_worker, session, action_id="a2", details=3), action(module_worker, session, action_id="a3")
    )
    assert [outcome.outcome for outcome in second] == ["conflict", "ok"]
    assert result_of(second[0])["details"] == {"session_id": session, "action_id": "a2"}
    # A response may have the id of an action.
    assert module_worker.do("log_response", session_id=session, response_id="a1")["response"]["number"] == 4
    assert module_worker.do("log_response", session_id=session, response_id="a1")["code"] == "conflict"
    assert [number for _, number, _ in everything(module_worker, session)] == [1, 2, 3, 4]
    kept = module_worker.ask("get_actions", session_id=session)["actions"]
    assert [each["details"] for each in kept] == [1, {}, {}]
    counts = module_worker.ask("get_session", session_id=session)["session"]
    assert (counts["action_count"], counts["response_count"], counts["seq"]) == (3, 1, 5)


def test_the_same_message_again_is_one_action_and_another_under_its_id_is_refused(module_worker, session):
    data = {"session_id": session, "type": "step", "details": {"n": 1}}
    first = module_worker.command("log_action", data, message_id=f"m-{session}")
    again = module_worker.command("log_action", data, message_id=f"m-{session}")
    other = module_worker.command("log_action", {**data, "details": {"n": 2}}, message_id=f"m-{session}")
    (one,), (two,), (three,) = (module_worker.outcomes(each) for each in (first, again, other))
    assert (one.reply, two.outcome, three.outcome) == (two.reply, "repeated", "conflict")
    assert len(everything(module_worker, session)) == 1


def test_four_workers_at_once_leave_no_gap_and_no_double(module_worker, session):
    batches = [
        [
            (action if n % 3 else response)(module_worker, session, **({} if n % 3 else {"content": n}))
            for n in range(start, start + 10)
        ]
        for start in range(0, 400, 10)
    ]

    async def one_worker(mine):
        return [outcome for batch in mine for outcome in await module_worker.commit(*batch)]

    async def all_at_once():
        return await asyncio.gather(*(one_worker(batches[n::4]) for n in range(4)))

    outcomes = [outcome for worker in module_worker.run(all_at_once()) for outcome in worker]
    assert {outcome.outcome for outcome in outcomes} == {"ok"}
    found = everything(module_worker, session)
    assert [number for _, number, _ in found] == list(range(1, 401))
    # By number and by moment they stand in the same order, for numbers are given under the session's lock.
    rows = module_worker.sql(
        "select number from (select number, created from actions where session_id = :id"
        " union all select number, created from responses where session_id = :id) each order by created, number",
        id=session,
    )
    assert [row.number for row in rows] == list(range(1, 401))


def test_pages_are_dealt_from_one_order(module_worker, session):
    module_worker.outcomes(
        *(
            action(module_worker, session, action_id=str(n))
            if n % 2
            else response(module_worker, session, response_id=str(n))
            for n in range(1, 8)
        )
    )
    first = module_worker.ask("get_actions", session_id=session, limit=3)
    assert [each["number"] for each in first["actions"]] == [1, 3]
    assert [each["number"] for each in first["responses"]] == [2]
    second = module_worker.ask("get_actions", session_id=session, limit=4, cursor=first["next"])
    assert [each["number"] for each in second["actions"]] == [5, 7]
    assert [each["number"] for each in second["responses"]] == [4, 6]
    assert second["next"] is None
    only = module_worker.ask("get_actions", session_id=session, kind="response", limit=2)
    assert ([each["number"] for each in only["responses"]], only["actions"]) == ([2, 4], [])
    rest = module_worker.ask("get_actions", session_id=session, kind="response", limit=2, cursor=only["next"])
    assert ([each["number"] for each in rest["responses"]], rest["next"]) == ([6], None)


def test_a_session_that_is_missing_or_closed_takes_nothing(module_worker, session):
    for name, fields in (("log_action", {"type": "x"}), ("log_response", {})):
        assert module_worker.do(name, session_id="nowhere", **fields)["code"] == "not_found"
    assert module_worker.ask("get_actions", session_id="nowhere")["code"] == "not_found"
    assert module_worker.ask("get_actions", session_id=session) == {"actions": [], "responses": [], "next": None}
    module_worker.do("log_action", session_id=session, type="x")
    module_worker.do("pause_session", session_id=session)
    assert module_worker.do("log_action", session_id=session, type="x")["action"]["number"] == 2
    module_worker.do("resume_session", session_id=session)
    module_worker.do("fail_session", session_id=session)
    for name, fields in (("log_action", {"type": "x"}), ("log_response", {})):
        refused = module_worker.do(name, session_id=session, **fields)
        assert (refused["code"], refused["details"]["status"]) == ("conflict", "failed")
    assert len(module_worker.ask("get_actions", session_id=session)["actions"]) == 2
    assert module_worker.ask("get_actions", session_id=session, cursor="%%")["code"] == "invalid"


def test_a_batch_that_fails_takes_no_numbers(module_worker, session):
    def batch(*commands):
        return module_worker.do("batch", {"commands": [{"command": name, "data": data} for name, data in commands]})

    step = ("log_action", {"session_id": session, "type": "step"})
    answer = ("log_response", {"session_id": session})
    done = batch(step, step, answer, step, ("update_state", {"session_id": session, "patch": {"a": 1}}), answer)
    assert [next(iter(result.values()))["number"] for result in done["results"] if "state" not in result] == [
        1,
        2,
        3,
        4,
        5,
    ]
    refused = batch(step, answer, ("update_goal", {"session_id": session, "goal_id": "none", "status": "blocked"}))
    assert (refused["code"], refused["details"]["index"]) == ("not_found", 2)
    assert module_worker.do("log_action", session_id=session, type="step")["action"]["number"] == 6
    assert [number for _, number, _ in everything(module_worker, session)] == [1, 2, 3, 4, 5, 6]
