"""Who may do what in sidebars, how what is said there is numbered, and what is shown to whom, on a real database."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from services.session_worker.handlers import sidebars
from shared.bus.commit import GroupCommit
from shared.bus.replies import SessionMissing
from shared.messages import new_id
from tests.integration.handling import events_of, result_of
from tests.integration.session_worker.conftest import SessionWorker
from tests.integration.session_worker.test_sidebars import say, spawn, texts, whole


@pytest.fixture
def session_id(module_worker: SessionWorker) -> str:
    """An open session."""
    session_id = new_id()
    module_worker.do("create_session", session_id=session_id)
    return session_id


def test_a_sidebar_is_for_its_participants_and_admins(module_worker: SessionWorker, session_id: str) -> None:
    sidebar_id = spawn(module_worker, session_id)["sidebar_id"]
    commands: dict[str, dict[str, Any]] = {
        "post_to_sidebar": {"text": "hello"},
        "set_sidebar_status": {"status": "testing"},
        "pause_sidebar": {},
        "resume_sidebar": {},
        "fork_sidebar": {"reason": "mine"},
        "merge_sidebar": {},
        "archive_sidebar": {},
        "report_test_result": {"test_description": "t", "result": "passed", "findings": "f"},
        "report_waiting": {"waiting_for": "human_input", "description": "d"},
    }
    for name, data in commands.items():
        refused = module_worker.do(name, sidebar_id=sidebar_id, sender="eve", **data)
        assert refused["code"] == "forbidden", name
        assert refused["details"]["sidebar_id"] == sidebar_id
    under = {"session_id": session_id, "participants": ["eve"], "task_description": "t"}
    assert module_worker.do("spawn_sidebar", sender="eve", parent_id=sidebar_id, **under)["code"] == "forbidden"
    referring = module_worker.do("spawn_sidebar", sender="eve", cross_sidebar_refs=[sidebar_id], **under)
    assert referring["code"] == "forbidden"
    assert module_worker.ask("get_sidebar", sidebar_id=sidebar_id, sender="eve")["code"] == "forbidden"
    assert module_worker.ask("get_sidebar", sidebar_id=sidebar_id, sender="eve", by_admin=True)["sidebar"]
    said = module_worker.do("post_to_sidebar", sidebar_id=sidebar_id, text="hello", sender="eve", by_admin=True)
    assert said["exchange"]["author"] == "eve"
    assert module_worker.ask("get_sidebar", sidebar_id="none")["code"] == "not_found"
    assert module_worker.do("post_to_sidebar", sidebar_id="none", text="x")["code"] == "not_found"
    for other in ({"session_id": "another"}, {"session_id": session_id}):
        code = "not_found" if other["session_id"] == "another" else None
        assert module_worker.do("post_to_sidebar", sidebar_id=sidebar_id, text="x", **other).get("code") == code
        assert module_worker.do("resume_sidebar", sidebar_id=sidebar_id, **other).get("code") == code
        assert module_worker.ask("get_sidebar", sidebar_id=sidebar_id, **other).get("code") == code
    assert module_worker.do("pause_sidebar", sidebar_id="none")["code"] == "not_found"


def test_what_is_written_to_a_sidebar_is_audited_under_its_session(
    module_worker: SessionWorker, session_id: str
) -> None:
    sidebar = spawn(module_worker, session_id)
    say(module_worker, sidebar, "one")
    module_worker.do("pause_sidebar", sidebar_id=sidebar["sidebar_id"])
    entries = module_worker.ask("list_audit", session_id=session_id)["entries"]
    assert [entry["command"] for entry in entries] == [
        "pause_sidebar", "post_to_sidebar", "spawn_sidebar", "create_session",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("post_to_sidebar", {"text": "x"}),
        ("pause_sidebar", {}),
        ("mention", {"target_agents": ["bob"], "message": "look"}),
    ],
)
def test_a_sidebar_on_its_way_is_waited_for_unless_its_session_is_named(
    module_worker: SessionWorker, session_id: str, name: str, more: dict[str, Any]
) -> None:
    alone = module_worker.command(name, {"sidebar_id": "on its way", **more})
    named = module_worker.command(name, {"sidebar_id": "on its way", "session_id": session_id, **more})

    async def run(patient: set[str]) -> list[Any]:
        async with module_worker.database.transaction() as tx:
            commit = GroupCommit(module_worker.handlers, module_worker.batch_handlers, module_worker.sharing)
            return await commit.run(tx, [alone, named], patient=patient)

    waits, refused = module_worker.run(run({alone.message_id, named.message_id}))
    assert isinstance(waits, SessionMissing)
    assert result_of(refused)["code"] == "not_found"
    assert result_of(module_worker.run(run(set()))[0])["code"] == "not_found"


def test_a_list_holds_what_the_asker_takes_part_in(module_worker: SessionWorker, session_id: str) -> None:
    both = spawn(module_worker, session_id, participants=["list-a", "list-b"])
    alone = spawn(module_worker, session_id, participants=["list-a"])
    module_worker.do("archive_sidebar", sidebar_id=alone["sidebar_id"], sender="list-a")

    def ids(**asked: Any) -> list[str]:
        return [one["sidebar_id"] for one in module_worker.all_pages("list_sidebars", "sidebars", limit=1, **asked)]

    newest_first = [alone["sidebar_id"], both["sidebar_id"]]
    assert ids(sender="list-a") == newest_first
    assert ids(sender="list-b") == ids(sender="list-b", session_id=session_id) == newest_first[1:]
    assert ids(sender="list-a", status="archived") == newest_first[:1]
    assert ids(sender="list-a", participant="list-b") == newest_first[1:]
    assert ids(sender="eve", session_id=session_id) == []
    assert ids(sender="eve", by_admin=True, session_id=session_id) == newest_first
    assert ids(sender="eve", by_admin=True, participant="list-b") == newest_first[1:]
    child = spawn(module_worker, session_id, sender="list-b", parent_id=both["sidebar_id"], participants=["list-b"])
    assert ids(sender="list-b", parent_id=both["sidebar_id"]) == [child["sidebar_id"]]
    assert ids(by_admin=True, parent_id=both["sidebar_id"]) == [child["sidebar_id"]]


def test_posts_of_many_at_once_are_numbered_without_a_gap(module_worker: SessionWorker, session_id: str) -> None:
    sidebars = [spawn(module_worker, session_id)["sidebar_id"] for _ in range(3)]

    async def post() -> list[Any]:
        batches = [
            [
                module_worker.command("post_to_sidebar", {"sidebar_id": sidebar_id, "text": f"{n}"})
                for sidebar_id in (sidebars if n % 2 else sidebars[::-1])
            ]
            for n in range(12)
        ]
        return await asyncio.gather(*(module_worker.commit(*batch) for batch in batches))

    outcomes = [outcome for batch in module_worker.run(post()) for outcome in batch]
    assert {outcome.outcome for outcome in outcomes} == {"ok"}
    for sidebar_id in sidebars:
        kept = module_worker.ask("get_sidebar", sidebar_id=sidebar_id)["sidebar"]
        assert [exchange["seq"] for exchange in kept["local_memory"]] == [*range(1, 13)]
        assert kept["exchange_count"] == 12
    numbers = sorted(event["session_seq"] for outcome in outcomes for event in events_of(outcome))
    assert numbers == [*range(numbers[0], numbers[0] + 36)]


def test_one_bad_post_hurts_no_other(module_worker: SessionWorker, session_id: str) -> None:
    open_one, closed = spawn(module_worker, session_id), spawn(module_worker, session_id)
    module_worker.do("archive_sidebar", sidebar_id=closed["sidebar_id"])
    here = open_one["sidebar_id"]
    asked: list[tuple[str, dict[str, Any]]] = [
        (here, {}), (closed["sidebar_id"], {}), ("none", {}), (here, {"data_refs": []}),
        (here, {"data_refs": {"log": "x" * 70_000}}), (here, {"data_refs": {"a": 1}}),
    ]  # fmt: skip
    outcomes = module_worker.outcomes(
        *(module_worker.command("post_to_sidebar", {"sidebar_id": to, "text": "x", **more}) for to, more in asked)
    )
    assert [outcome.outcome for outcome in outcomes] == [
        "ok", "conflict", "not_found", "invalid", "too_large", "ok",
    ]  # fmt: skip
    assert result_of(outcomes[-1])["exchange"]["seq"] == 2
    assert events_of(outcomes[-1])[0]["sidebar"]["data_refs"] == {"a": 1}


def test_a_mention_reaches_participants_and_nobody_else(module_worker: SessionWorker, session_id: str) -> None:
    sidebar = spawn(module_worker, session_id, participants=["ada", "bob", "carl"])
    text = "@bob and @eve, see bob@carl.org, not `@carl`; @bob again"
    post = module_worker.command("post_to_sidebar", {"sidebar_id": sidebar["sidebar_id"], "text": text})
    (outcome,) = module_worker.outcomes(post)
    assert result_of(outcome)["exchange"]["mentions"] == ["bob"]
    told, route = events_of(outcome)
    assert (told["type"], route["type"], route["agent_id"]) == ("sidebar_exchange", "mention_route", "bob")
    assert (route["message"], route["sidebar_id"]) == (text, sidebar["sidebar_id"])
    assert route["participants"] == ["ada", "bob", "carl"]
    waits = module_worker.events(
        "report_waiting", sidebar_id=sidebar["sidebar_id"], waiting_for="human_input", description="@carl, which one?"
    )
    assert [event["type"] for event in waits] == ["sidebar_status_update", "sidebar_waiting_update", "mention_route"]
    assert waits[2]["agent_id"] == "carl"


def test_reports_are_said_and_told_with_what_they_say(module_worker: SessionWorker, session_id: str) -> None:
    sidebar = spawn(module_worker, session_id)
    (event,) = module_worker.events(
        "report_test_result", sidebar_id=sidebar["sidebar_id"], test_description="One clock", result="inconclusive",
        findings="3 of 10", next_test_suggestion="Two clocks",
    )  # fmt: skip
    assert (event["type"], event["result"], event["tested_by"]) == ("sidebar_test_result", "inconclusive", "ada")
    assert event["exchange"]["text"] == "One clock: inconclusive\n\n3 of 10\n\nNext: Two clocks"
    for wait in ("human_input", "other_sidebar"):
        result = module_worker.do(
            "report_waiting", sidebar_id=sidebar["sidebar_id"], waiting_for=wait, description=f"for {wait}",
            estimated_wait_time=60.0, dependency_refs=["x"],
        )  # fmt: skip
        assert (result["sidebar"]["status"], result["sidebar"]["waiting_for"]) == ("waiting", wait)
    kept = whole(module_worker, sidebar)
    assert [exchange["kind"] for exchange in kept["local_memory"]] == ["test_result", "waiting", "waiting"]
    assert [move["to_status"] for move in kept["history"]] == ["active", "waiting"]
    resumed = module_worker.do("resume_sidebar", sidebar_id=sidebar["sidebar_id"], reason="it is there")["sidebar"]
    assert (resumed["status"], resumed["waiting_for"], resumed["reason"]) == ("active", None, "it is there")


def test_a_pause_is_told_by_its_condition_and_again_by_nothing(module_worker: SessionWorker, session_id: str) -> None:
    sidebar_id = spawn(module_worker, session_id)["sidebar_id"]
    pause = {"sidebar_id": sidebar_id, "reason": "no runner", "resume_condition": "it is back"}
    update, paused = module_worker.events("pause_sidebar", **pause)
    assert (update["old_status"], update["new_status"], update["reason"]) == ("active", "paused", "no runner")
    assert (paused["type"], paused["resume_condition"], paused["paused_by"]) == ("sidebar_pause", "it is back", "ada")
    assert module_worker.events("pause_sidebar", **pause) == []
    refused = module_worker.do("set_sidebar_status", sidebar_id=sidebar_id, status="testing")
    assert refused["details"] == {
        "sidebar_id": sidebar_id, "status": "paused", "wanted": "testing", "allowed": ["active", "archived", "failed"],
    }  # fmt: skip
    assert [event["type"] for event in module_worker.events("resume_sidebar", sidebar_id=sidebar_id)] == [
        "sidebar_status_update", "sidebar_resume",
    ]  # fmt: skip


def test_a_closed_session_lets_its_sidebars_be_read_and_archived_only(
    module_worker: SessionWorker, session_id: str
) -> None:
    sidebar_id = spawn(module_worker, session_id)["sidebar_id"]
    module_worker.do("complete_session", session_id=session_id)
    for name, data in {
        "post_to_sidebar": {"text": "x"},
        "fork_sidebar": {"reason": "r"},
        "merge_sidebar": {},
        "pause_sidebar": {},
        "report_waiting": {"waiting_for": "human_input", "description": "d"},
    }.items():
        refused = module_worker.do(name, sidebar_id=sidebar_id, **data)
        assert (refused["code"], refused["details"]["status"]) == ("conflict", "completed"), name
    assert module_worker.ask("get_sidebar", sidebar_id=sidebar_id)["sidebar"]["status"] == "active"
    assert module_worker.do("archive_sidebar", sidebar_id=sidebar_id)["sidebar"]["status"] == "archived"


@pytest.fixture
def impatient(database_url: str) -> Iterator[SessionWorker]:
    """A worker that archives what has been idle for an hour."""
    worker = SessionWorker(database_url)
    worker.handlers = {**worker.handlers, **sidebars.handlers(idle_hours=1)}
    yield worker
    worker.close()


def test_idle_sidebars_are_archived_and_told_of(impatient: SessionWorker) -> None:
    for session_id in ("s1", "s2"):
        impatient.do("create_session", session_id=session_id)
    idle = [spawn(impatient, session_id) for session_id in ("s1", "s2", "s1")]
    closed = spawn(impatient, "s1")
    impatient.do("archive_sidebar", sidebar_id=closed["sidebar_id"])
    impatient.do("pause_sidebar", sidebar_id=idle[2]["sidebar_id"])
    impatient.sql("update sidebars set last_activity = now() - interval '2 hours'")
    fresh = spawn(impatient, "s1")
    (outcome,) = impatient.outcomes(impatient.command("archive_idle_sidebars", {}, sender="system"))
    assert result_of(outcome) == {"archived": 3}
    archived = [event for event in events_of(outcome) if event["type"] == "sidebar_archive"]
    assert {event["sidebar_id"] for event in archived} == {sidebar["sidebar_id"] for sidebar in idle}
    assert {event["archive_reason"] for event in archived} == {"nothing has happened for 1 h"}
    assert sorted(event["final_status"] for event in archived) == ["active", "active", "paused"]
    assert whole(impatient, fresh)["status"] == "active"
    assert impatient.do("archive_idle_sidebars", sender="system") == {"archived": 0}


def test_a_sidebar_is_not_idle_while_a_child_of_it_is_at_work(impatient: SessionWorker) -> None:
    impatient.do("create_session", session_id="s1")
    parent = spawn(impatient, "s1")
    impatient.sql("update sidebars set last_activity = now() - interval '2 hours'")
    child = spawn(impatient, "s1", parent_id=parent["sidebar_id"])
    impatient.sql(
        "update sidebars set last_activity = now() - interval '2 hours' where id = :id", id=parent["sidebar_id"]
    )
    assert impatient.do("archive_idle_sidebars", sender="system") == {"archived": 0}
    impatient.sql("update sidebars set last_activity = now() - interval '2 hours'")
    for one in (child, parent):
        assert impatient.do("archive_idle_sidebars", sender="system") == {"archived": 1}
        assert whole(impatient, one)["status"] == "archived"


def test_agents_are_told_where_they_take_part(worker: SessionWorker) -> None:
    for session_id, participants in (("s1", ["ada"]), ("s2", ["bob", "ada"]), ("s3", []), ("s4", ["ada"])):
        worker.do("create_session", session_id=session_id, participants=participants)
    worker.do("spawn_agent", session_id="s3", agent_id="ada", type="reviewer")
    worker.do("complete_session", session_id="s4")
    sidebar, archived = spawn(worker, "s2"), spawn(worker, "s2")
    worker.do("archive_sidebar", sidebar_id=archived["sidebar_id"])
    contexts = worker.ask("get_agent_contexts", agent_ids=["eve", "ada", "bob"])["contexts"]
    assert [(each["agent_id"], sorted(each["sessions"]), each["sidebars"]) for each in contexts] == [
        ("eve", [], []), ("ada", ["s1", "s2", "s3"], [sidebar["sidebar_id"]]), ("bob", ["s2"], [sidebar["sidebar_id"]]),
    ]  # fmt: skip


def test_capabilities_tell_what_each_can_do_has_to_do_and_with_whom(worker: SessionWorker) -> None:
    worker.do("create_session", session_id="s1")
    worker.sql("""
        insert into agents (name, type, command, capabilities, max_concurrent, metadata, last_heartbeat) values
            ('ada', 'x', '', '["review"]', 1, '{}', now()), ('bob', 'x', '', '[]', 1, '{}', now() - interval '1 hour')
    """)
    for partner in ("carl", "carl", "bob"):
        merged = spawn(worker, "s1", participants=["ada", partner])
        worker.do("merge_sidebar", sidebar_id=merged["sidebar_id"])
    sidebar = spawn(worker, "s1", participants=["ada", "bob", "carl"])
    spawn(worker, "s1", participants=["ada"])
    assert whole(worker, sidebar)["agent_capabilities"] == [
        {"agent_id": "ada", "specialties": ["review"], "availability": "available", "current_load": 2,
         "preferred_collaborators": ["carl", "bob"]},
        {"agent_id": "bob", "specialties": [], "availability": "offline", "current_load": 1,
         "preferred_collaborators": ["ada"]},
        {"agent_id": "carl", "specialties": [], "availability": "unknown", "current_load": 1,
         "preferred_collaborators": ["ada"]},
    ]  # fmt: skip


def test_figures_tell_how_sidebars_go(worker: SessionWorker) -> None:
    worker.do("create_session", session_id="s1")
    parent = spawn(worker, "s1")
    child = spawn(worker, "s1", parent_id=parent["sidebar_id"])
    worker.do("merge_sidebar", sidebar_id=child["sidebar_id"])
    worker.do("merge_sidebar", sidebar_id=parent["sidebar_id"], success=False)
    worker.do("fork_sidebar", sidebar_id=parent["sidebar_id"], reason="again")
    spawn(worker, "s1", sender="eve", participants=["eve"])
    stats = worker.ask("sidebar_stats", hours=10, by_admin=True)["stats"]
    assert (stats["open"], stats["spawned"], stats["spawned_per_hour"]) == (2, 4, 0.4)
    assert (stats["by_status"], stats["merged"], stats["merge_success_rate"]) == ({"active": 2, "merged": 2}, 2, 0.5)
    assert (stats["forked"], stats["children"], stats["inherited_depth_mean"]) == (1, 1, 0.5)
    assert stats["lifespan_s_mean"] > 0
    assert stats["collaborations"] == [{"agents": ["ada", "bob"], "sidebars": 3}]
    assert worker.ask("sidebar_stats", sender="eve")["stats"]["spawned"] == 1
    assert worker.ask("sidebar_stats", session_id="none", by_admin=True)["stats"]["merge_success_rate"] is None


def test_a_timeline_leaves_out_what_happened_in_sidebars_of_others(
    module_worker: SessionWorker, session_id: str
) -> None:
    sidebar = module_worker.command(
        "spawn_sidebar", {"session_id": session_id, "participants": ["ada", "bob"], "task_description": "t"}
    )
    (outcome,) = module_worker.outcomes(sidebar)
    sidebar_id = result_of(outcome)["sidebar"]["sidebar_id"]
    (said,) = module_worker.outcomes(
        module_worker.command("post_to_sidebar", {"sidebar_id": sidebar_id, "text": "@bob look"})
    )
    (acted,) = module_worker.outcomes(
        module_worker.command("log_action", {"session_id": session_id, "type": "x", "details": {}})
    )
    for event in [event for each in (outcome, said, acted) for event in each.events]:
        module_worker.sql(
            """
            insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
            select coalesce(max(cursor), 0) + 1, now(), :message_id, cast(:body as json) ->> 'type', :routing_key,
                :session_id, cast(cast(:body as json) ->> 'session_seq' as bigint), cast(:body as json) from events
            """,
            message_id=event.message_id, routing_key=event.routing_key, session_id=session_id, body=event.body,
        )  # fmt: skip

    def shown(**asker: Any) -> list[str]:
        entries = module_worker.all_pages("get_timeline", "entries", session_id=session_id, wait_s=0, **asker)
        return [entry["type"] for entry in entries]

    everything = ["sidebar_spawn", "sidebar_exchange", "mention_route", "action_logged"]
    assert shown(sender="ada") == shown(sender="bob") == shown(sender="eve", by_admin=True) == everything
    assert shown(sender="eve") == ["action_logged"]


def test_what_was_said_long_ago_is_read_page_by_page(module_worker: SessionWorker, session_id: str) -> None:
    sidebar = spawn(module_worker, session_id)
    say(module_worker, sidebar, *"abcde")
    page = whole(module_worker, sidebar, limit=2)["local_memory"]
    assert texts(page) == ["d", "e"]
    assert texts(whole(module_worker, sidebar, limit=2, before=page[0]["seq"])["local_memory"]) == ["b", "c"]


def test_numbers_and_the_order_of_names_pass_unchanged(module_worker: SessionWorker, session_id: str) -> None:
    references = '{"z":1e2,"a":1180591620717411303424}'
    data = f'{{"session_id":"{session_id}","participants":["ada"],"task_description":"t","data_refs":{references}}}'
    sidebar_id = module_worker.do("spawn_sidebar", data)["sidebar"]["sidebar_id"]
    assert references.encode() in module_worker.ask_text("get_sidebar", sidebar_id=sidebar_id)
    post = f'{{"sidebar_id":"{sidebar_id}","text":"x","data_refs":{{"b":1.0}}}}'
    module_worker.do("post_to_sidebar", post)
    united = b'{"z":1e2,"a":1180591620717411303424,"b":1.0}'
    assert united in module_worker.ask_text("get_sidebar", sidebar_id=sidebar_id)


def test_what_is_shown_at_once_takes_a_bounded_room(module_worker: SessionWorker, session_id: str) -> None:
    sidebar = spawn(module_worker, session_id)
    module_worker.outcomes(
        *(
            module_worker.command("post_to_sidebar", {"sidebar_id": sidebar["sidebar_id"], "text": "x" * 100_000})
            for _ in range(30)
        )
    )
    fork = module_worker.do("fork_sidebar", sidebar_id=sidebar["sidebar_id"], reason="again")["sidebar"]
    assert [exchange["seq"] for exchange in whole(module_worker, sidebar)["local_memory"]] == [*range(11, 31)]
    known = whole(module_worker, fork)["inherited_memory"]
    assert [item["exchange"]["seq"] for item in known] == [*range(11, 31)]


def test_whatever_is_done_at_once_in_two_sessions_ends_without_a_deadlock(
    module_worker: SessionWorker, session_id: str
) -> None:
    sessions = [session_id, new_id()]
    module_worker.do("create_session", session_id=sessions[1])
    tops = [spawn(module_worker, each)["sidebar_id"] for each in (*sessions, *sessions)]
    other = SessionWorker(module_worker.url)
    chance = random.Random(7)

    def command() -> Any:
        sidebar_id, at = chance.choice(tops), chance.randrange(2)
        people = {"participants": ["ada"], "task_description": "t"}
        under = {"session_id": sessions[tops.index(sidebar_id) % 2], "parent_id": sidebar_id}
        name, data = chance.choice(
            [
                ("post_to_sidebar", {"sidebar_id": sidebar_id, "text": "x"}),
                ("spawn_sidebar", {**under, **people}),
                (
                    "spawn_sidebar",
                    {"session_id": sessions[at], "cross_sidebar_refs": tops[:: -1 if at else 1], **people},
                ),
                ("set_sidebar_status", {"sidebar_id": sidebar_id, "status": chance.choice(["testing", "active"])}),
                ("fork_sidebar", {"sidebar_id": sidebar_id, "reason": "r"}),
                ("log_action", {"session_id": sessions[at], "type": "x", "details": {}}),
            ]
        )
        return module_worker.command(name, data)

    async def race() -> list[Any]:
        worked = [(module_worker, other)[n % 2].commit(*(command() for _ in range(4))) for n in range(40)]
        return await asyncio.gather(*worked)

    outcomes = [outcome for batch in module_worker.run(race()) for outcome in batch]
    assert {outcome.outcome for outcome in outcomes} <= {"ok", "conflict"}
    for each in sessions:
        numbers = [
            event["session_seq"] for outcome in outcomes for event in events_of(outcome) if event["session_id"] == each
        ]
        assert sorted(numbers) == [*range(min(numbers), min(numbers) + len(numbers))]
    other.close()
