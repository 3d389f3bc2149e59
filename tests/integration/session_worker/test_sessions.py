"""create, get, list, pause, resume and complete sessions on a real database."""

import asyncio

import pytest

from tests.integration.handling import events_of, result_of


def test_a_new_session_is_answered_told_of_and_found(worker):
    command = worker.command(
        "create_session",
        '{"session_id":"s.1","title":"T","participants":["ada","bob"],"user_id":"u","initial":{"z":1e5,"a":36893488147419103232}}',
    )
    (outcome,) = worker.outcomes(command)
    assert b'"initial":{"z":1e5,"a":36893488147419103232}' in outcome.reply
    assert '"initial":{"z":1e5,"a":36893488147419103232}' in outcome.events[0].body
    assert outcome.events[0].routing_key == "session.s_1.created"
    assert b'"initial":{"z":1e5,"a":36893488147419103232}' in worker.ask_text("get_session", session_id="s.1")
    session = worker.ask("get_session", session_id="s.1")["session"]
    assert (session["title"], session["participants"], session["user_id"]) == ("T", ["ada", "bob"], "u")
    assert (session["status"], session["seq"], session["conversation_chunk_count"]) == ("active", 1, 0)


def test_the_reply_the_event_and_the_row_say_the_same(worker):
    created = worker.do("create_session", session_id="s1", title="T")["session"]
    assert created == worker.ask("get_session", session_id="s1")["session"]
    (event,) = worker.events("pause_session", session_id="s1", reason="lunch")
    assert event["session"] == worker.ask("get_session", session_id="s1")["session"]
    assert (event["type"], event["reason"], event["session_seq"]) == ("session_paused", "lunch", 2)
    assert event["session"]["last_activity"] > created["last_activity"]


def test_an_id_is_made_when_none_is_given(worker):
    first, second = (worker.do("create_session", title=title)["session"]["session_id"] for title in "ab")
    assert first != second
    assert worker.ask("get_session", session_id=first)["session"]["title"] == "a"


def test_an_id_that_is_taken_is_a_conflict_and_changes_nothing(worker):
    worker.do("create_session", session_id="s1", title="first")
    assert worker.do("create_session", session_id="s1", title="second")["code"] == "conflict"
    assert worker.ask("get_session", session_id="s1")["session"]["title"] == "first"


def test_two_of_one_batch_with_one_id_are_one_session(worker):
    commands = [worker.command("create_session", {"session_id": "s1", "title": title}) for title in "ab"]
    first, second = worker.outcomes(*commands)
    assert (first.outcome, second.outcome) == ("ok", "conflict")


def test_a_hundred_at_once_with_one_id_are_one_session(worker):
    async def all_at_once():
        return await asyncio.gather(
            *(worker.commit(worker.command("create_session", {"session_id": "s1"})) for _ in range(100))
        )

    ends = [outcome.outcome for (outcome,) in worker.run(all_at_once())]
    assert sorted(ends) == ["conflict"] * 99 + ["ok"]


def test_the_same_message_a_hundred_times_at_once_happens_once(worker):
    command = worker.command("create_session", {"title": "made once"})

    async def all_at_once():
        return await asyncio.gather(*(worker.commit(command) for _ in range(100)))

    replies = {outcome.reply for (outcome,) in worker.run(all_at_once())}
    assert len(replies) == 1
    assert worker.sql("select count(*) from sessions")[0][0] == 1


def test_the_way_of_a_session_and_its_history(worker):
    worker.do("create_session", session_id="s1", sender="ada")
    for name, status in [("pause", "paused"), ("resume", "active"), ("complete", "completed")]:
        reason = {"summary": "done"} if name == "complete" else {"reason": name}
        assert worker.do(f"{name}_session", session_id="s1", sender="bob", **reason)["session"]["status"] == status
    rows = worker.sql("select from_status, to_status, by_agent, reason from session_transitions order by id")
    assert [tuple(row) for row in rows] == [
        (None, "active", "ada", None),
        ("active", "paused", "bob", "pause"),
        ("paused", "active", "bob", "resume"),
        ("active", "completed", "bob", "done"),
    ]


def test_a_session_that_failed_is_put_away_and_its_history_kept(worker):
    worker.do("create_session", session_id="s1", sender="ada")
    (failed,) = worker.outcomes(worker.command("fail_session", {"session_id": "s1", "reason": "no funds"}))
    (event,) = events_of(failed)
    assert (event["type"], event["reason"], event["session_seq"]) == ("session_failed", "no funds", 2)
    assert failed.events[0].routing_key == "session.s1.failed"
    assert event["session"] == result_of(failed)["session"] == worker.ask("get_session", session_id="s1")["session"]
    (archived,) = worker.outcomes(worker.command("archive_session", {"session_id": "s1"}, sender="bob"))
    (event,) = events_of(archived)
    assert (event["type"], event["session"]["status"]) == ("session_archived", "archived")
    assert archived.events[0].routing_key == "session.s1.archived"
    rows = worker.sql("select from_status, to_status, by_agent, reason from session_transitions order by id")
    assert [tuple(row) for row in rows] == [
        (None, "active", "ada", None), ("active", "failed", "ada", "no funds"), ("failed", "archived", "bob", None),
    ]  # fmt: skip
    assert worker.ask("list_sessions", status="archived")["sessions"][0]["session_id"] == "s1"
    for name in ("pause", "resume", "complete", "fail", "archive"):
        refused = worker.do(f"{name}_session", session_id="s1")
        assert (refused["code"], refused["details"]["status"]) == ("conflict", "archived")
    assert worker.do("fail_session", session_id="nowhere")["code"] == "not_found"
    assert worker.do("archive_session", session_id="nowhere")["code"] == "not_found"


def test_an_open_session_is_not_put_away(worker):
    worker.do("create_session", session_id="s1")
    assert worker.do("archive_session", session_id="s1")["details"]["wanted"] == "archived"
    worker.do("pause_session", session_id="s1")
    assert worker.do("archive_session", session_id="s1")["code"] == "conflict"
    assert worker.do("fail_session", session_id="s1")["code"] == "conflict"


def test_pausing_a_paused_session_changes_nothing_and_tells_nothing(worker):
    worker.do("create_session", session_id="s1")
    first = worker.do("pause_session", session_id="s1")
    (again,) = worker.outcomes(worker.command("pause_session", {"session_id": "s1"}))
    assert (again.outcome, again.events) == ("ok", [])
    assert worker.ask("get_session", session_id="s1") == first
    assert worker.sql("select count(*) from session_transitions")[0][0] == 2


@pytest.mark.parametrize(
    ("before", "move", "named"),
    [
        (["pause"], "complete", ("paused", "completed")),
        (["complete"], "pause", ("completed", "paused")),
        (["complete"], "resume", ("completed", "active")),
        (["complete"], "complete", ("completed", "completed")),
    ],
)
def test_a_wrong_move_is_a_conflict_that_names_both_statuses(worker, before, move, named):
    worker.do("create_session", session_id="s1")
    for each in before:
        worker.do(f"{each}_session", session_id="s1")
    error = worker.do(f"{move}_session", session_id="s1")
    assert error["code"] == "conflict"
    assert (error["details"]["status"], error["details"]["wanted"]) == named


def test_two_moves_at_once_happen_one_after_the_other(worker):
    worker.do("create_session", session_id="s1")

    async def at_once():
        return await asyncio.gather(
            *(worker.commit(worker.command("complete_session", {"session_id": "s1"})) for _ in range(10))
        )

    ends = sorted(outcome.outcome for (outcome,) in worker.run(at_once()))
    assert ends == ["conflict"] * 9 + ["ok"]
    assert worker.sql("select count(*) from session_transitions where to_status = 'completed'")[0][0] == 1


def test_a_session_that_does_not_exist_is_not_found(worker):
    assert worker.ask("get_session", session_id="none")["code"] == "not_found"
    assert worker.do("pause_session", session_id="none")["code"] == "not_found"


def test_sessions_are_listed_by_activity_page_by_page(module_worker):
    worker = module_worker
    worker.sql(
        "insert into sessions (id, status, last_activity) select 's' || n, (array['active', 'paused'])[1 + n % 2],"
        " timestamptz '2026-01-01' + n / 3 * interval '1 second' from generate_series(1, 100) n"
    )
    expected = [row.id for row in worker.sql("select id from sessions order by last_activity desc, id desc")]
    assert [each["session_id"] for each in worker.all_pages("list_sessions", "sessions", limit=7)] == expected
    paused = worker.all_pages("list_sessions", "sessions", limit=7, status="paused")
    assert len(paused) == 50
    assert [each["session_id"] for each in paused] == [each for each in expected if int(each[1:]) % 2]
    assert worker.ask("list_sessions", status="archived") == {"sessions": [], "next": None}
    assert worker.ask("list_sessions", cursor="garbage")["code"] == "invalid"


def test_an_insight_is_told_as_it_was_sent_with_or_without_a_session(worker):
    worker.do("create_session", session_id="s1")
    text = '{"session_id":"s1","insight":{"score":1e5,"big":36893488147419103232,"a":[]}}'
    (outcome,) = worker.outcomes(worker.command("record_insight", text))
    assert '"insight":{"score":1e5,"big":36893488147419103232,"a":[]}' in outcome.events[0].body
    assert outcome.events[0].routing_key == "session.s1.insight"
    assert outcome.events[0].message_id.encode() in outcome.reply
    (event,) = worker.events("record_insight", insight="free")
    assert event["type"] == "llm_conversation_insight"
    assert "session_id" not in event


def test_a_session_is_told_as_it_is_after_what_the_same_batch_did_to_it(worker):
    worker.do("create_session", session_id="s1")
    outcomes = worker.outcomes(
        worker.command("conversation_chunk", {"session_id": "s1", "content": "hello"}),
        worker.command("pause_session", {"session_id": "s1"}),
        worker.command("resume_session", {"session_id": "s1"}),
        worker.command("complete_session", {"session_id": "s1"}),
    )
    told = [event for outcome in outcomes for event in events_of(outcome)]
    assert [event["session_seq"] for event in told] == [2, 3, 4, 5]
    assert [event["session"]["seq"] for event in told[1:]] == [3, 4, 5]
    assert [event["session"]["conversation_chunk_count"] for event in told[1:]] == [1, 1, 1]
    kept = worker.ask("get_session", session_id="s1")["session"]
    assert result_of(outcomes[-1])["session"] == kept
