"""Sidebars: opened, told of, inherited from, forked and merged, on a real database."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from services.session_worker.handlers import sidebars
from shared.messages import new_id
from tests.integration.handling import events_of, result_of
from tests.integration.session_worker.conftest import SessionWorker

Sidebar = dict[str, Any]


@pytest.fixture
def session_id(module_worker: SessionWorker) -> Iterator[str]:
    """An open session."""
    session_id = new_id()
    module_worker.do("create_session", session_id=session_id)
    return session_id


def spawn(worker: SessionWorker, session_id: str, *, sender: str = "ada", **fields: Any) -> Sidebar:
    given = {"participants": ["ada", "bob"], "task_description": "Find the flaky test", **fields}
    result = worker.do("spawn_sidebar", session_id=session_id, sender=sender, **given)
    assert "sidebar" in result, result
    sidebar: Sidebar = result["sidebar"]
    return sidebar


def say(worker: SessionWorker, sidebar: Sidebar, *texts: str, sender: str = "ada", **fields: Any) -> None:
    for text in texts:
        result = worker.do("post_to_sidebar", sidebar_id=sidebar["sidebar_id"], text=text, sender=sender, **fields)
        assert "exchange" in result, result


def whole(worker: SessionWorker, sidebar: Sidebar, *, sender: str = "ada", **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = worker.ask("get_sidebar", sidebar_id=sidebar["sidebar_id"], sender=sender, **fields)
    assert "sidebar" in found, found
    return found["sidebar"]  # type: ignore[no-any-return]


def texts(exchanges: list[dict[str, Any]]) -> list[str]:
    return [exchange["text"] for exchange in exchanges]


def inherited(sidebar: dict[str, Any]) -> list[str]:
    return [item["exchange"]["text"] for item in sidebar["inherited_memory"] if item["exchange"]]


def test_a_spawned_sidebar_is_told_with_all_it_has(module_worker: SessionWorker, session_id: str) -> None:
    events = module_worker.events(
        "spawn_sidebar", session_id=session_id, participants=["bob", "bob"], coordinator="ada",
        task_description="Find it", success_criteria="Found", data_refs={"log": 1e2},
    )  # fmt: skip
    (event,) = events
    sidebar = event["sidebar"]
    assert sidebar["participants"] == ["bob", "ada"]
    assert (event["type"], event["parent_id"], event["requested_by"]) == ("sidebar_spawn", session_id, "ada")
    assert (event["session_id"], event["session_seq"], event["sidebar_id"]) == (session_id, 2, sidebar["sidebar_id"])
    assert (sidebar["status"], sidebar["priority"], sidebar["success_criteria"]) == ("active", "normal", "Found")
    kept = whole(module_worker, sidebar)
    assert {name: kept[name] for name in sidebar} == sidebar
    assert [agent["agent_id"] for agent in kept["agent_capabilities"]] == ["bob", "ada"]
    assert [(move["from_status"], move["to_status"], move["by"]) for move in kept["history"]] == [
        (None, "active", "ada")
    ]
    again = module_worker.do(
        "spawn_sidebar", session_id=session_id, sidebar_id=sidebar["sidebar_id"], participants=["ada"],
        task_description="x",
    )  # fmt: skip
    assert again["code"] == "conflict"


def test_the_session_may_be_named_as_the_parent_as_events_do(module_worker: SessionWorker, session_id: str) -> None:
    assert spawn(module_worker, session_id, parent_id=session_id)["parent_id"] is None


def test_a_sidebar_under_the_session_refers_to_the_memories_in_force_as_they_are(
    module_worker: SessionWorker, session_id: str
) -> None:
    for version, content in enumerate(('"first"', '"second"'), 1):
        module_worker.sql(
            """
            insert into memories (session_id, key, type, content, version, author, message_id)
            values (:id, 'plan', 'fact', cast(:content as json), :version, 'ada', 'm')
            on conflict (session_id, key) do update set content = excluded.content, version = excluded.version
            """,
            id=session_id, content=content, version=version,
        )  # fmt: skip
    (event,) = module_worker.events(
        "spawn_sidebar", session_id=session_id, participants=["ada"], task_description="Plan"
    )
    assert event["inherited_context"] == [
        {"kind": "memory", "id": "plan", "sidebar_id": None, "session_id": session_id, "version": 2}
    ]
    module_worker.sql(
        """
        insert into memory_versions
            (session_id, key, version, type, content, tags, author, message_id, created, updated, replaced)
        select session_id, key, version, type, content, tags, author, message_id, created, updated, now()
        from memories where session_id = :id
        """,
        id=session_id,
    )
    module_worker.sql("update memories set content = '\"third\"', version = 3 where session_id = :id", id=session_id)
    (item,) = whole(module_worker, event["sidebar"])["inherited_memory"]
    assert (item["exchange"], item["memory"]["version"], item["memory"]["content"]) == (None, 2, "second")
    module_worker.sql("delete from memory_versions where session_id = :id", id=session_id)
    assert whole(module_worker, event["sidebar"])["inherited_memory"] == []


def test_a_child_knows_what_its_parent_knew_when_it_was_opened(module_worker: SessionWorker, session_id: str) -> None:
    parent = spawn(module_worker, session_id, data_refs={"log": 1}, priority="high")
    say(module_worker, parent, "one", "two")
    outcome = module_worker.outcomes(
        module_worker.command(
            "spawn_sidebar",
            {
                "session_id": session_id,
                "parent_id": parent["sidebar_id"],
                "participants": ["carl"],
                "task_description": "Look into two",
                "data_refs": {"run": [2]},
            },
        )
    )[0]
    child = result_of(outcome)["sidebar"]
    say(module_worker, parent, "three")
    events = events_of(outcome)
    assert [(event["type"], event["sidebar_id"]) for event in events] == [
        ("sidebar_status_update", parent["sidebar_id"]),
        ("sidebar_spawn", child["sidebar_id"]),
        ("sidebar_child_spawn", parent["sidebar_id"]),
        ("sidebar_status_update", parent["sidebar_id"]),
    ]
    assert [(events[at]["old_status"], events[at]["new_status"]) for at in (0, 3)] == [
        ("active", "spawning_child"),
        ("spawning_child", "active"),
    ]
    assert events[2]["sidebar"]["status"] == "spawning_child"
    assert (events[1]["parent_id"], events[2]["child_sidebar_id"]) == (parent["sidebar_id"], child["sidebar_id"])
    assert [ref["kind"] for ref in events[1]["inherited_context"]] == ["exchange", "exchange"]
    assert [event["session_seq"] for event in events] == [
        *range(events[0]["session_seq"], events[0]["session_seq"] + 4)
    ]
    kept = whole(module_worker, child, sender="carl")
    assert inherited(kept) == ["one", "two"]
    assert (kept["data_refs"], kept["priority"]) == ({"log": 1, "run": [2]}, "high")
    assert kept["cross_sidebar_refs"] == [parent["sidebar_id"]]
    above = whole(module_worker, parent)
    assert (above["child_sidebar_ids"], above["cross_sidebar_refs"]) == ([child["sidebar_id"]], [child["sidebar_id"]])
    assert above["status"] == "active"
    assert [move["to_status"] for move in above["history"]] == ["active", "spawning_child", "active"]


@pytest.fixture
def shallow(module_database_url: str) -> Iterator[SessionWorker]:
    """A worker whose children inherit from two sidebars above them."""
    worker = SessionWorker(module_database_url)
    worker.handlers = {**worker.handlers, **sidebars.handlers(inherit_depth=2)}
    yield worker
    worker.close()


def test_what_waits_for_another_sidebar_may_open_it_and_goes_on_waiting(
    module_worker: SessionWorker, session_id: str
) -> None:
    parent = spawn(module_worker, session_id)
    module_worker.do(
        "report_waiting", sidebar_id=parent["sidebar_id"], waiting_for="other_sidebar", description="the other clock"
    )
    child = spawn(module_worker, session_id, parent_id=parent["sidebar_id"])
    kept = whole(module_worker, parent)
    assert (kept["status"], kept["waiting_for"], kept["reason"]) == ("waiting", "other_sidebar", "the other clock")
    assert kept["child_sidebar_ids"] == [child["sidebar_id"]]
    assert [move["to_status"] for move in kept["history"]] == ["active", "waiting", "spawning_child", "waiting"]


def test_a_child_inherits_from_so_many_sidebars_above_it_and_a_fork_whatever_its_origin_knew(
    shallow: SessionWorker, session_id: str
) -> None:
    chain = [spawn(shallow, session_id)]
    for level in range(4):
        say(shallow, chain[-1], f"level {level}")
        chain.append(spawn(shallow, session_id, parent_id=chain[-1]["sidebar_id"]))
    known = [inherited(whole(shallow, sidebar)) for sidebar in chain]
    assert known == [
        [], ["level 0"], ["level 0", "level 1"], ["level 1", "level 2"], ["level 2", "level 3"],
    ]  # fmt: skip
    say(shallow, chain[-1], "at the end")
    fork = shallow.do("fork_sidebar", sidebar_id=chain[-1]["sidebar_id"], reason="again")["sidebar"]
    assert inherited(whole(shallow, fork)) == ["level 2", "level 3", "at the end"]
    second = shallow.do("fork_sidebar", sidebar_id=fork["sidebar_id"], reason="and again")["sidebar"]
    assert inherited(whole(shallow, second)) == ["level 2", "level 3", "at the end"]
    child = spawn(shallow, session_id, parent_id=fork["sidebar_id"])
    assert inherited(whole(shallow, child)) == ["level 3", "at the end"]


def test_an_archived_sidebar_is_revived_as_a_fork_that_both_are_told_of(
    module_worker: SessionWorker, session_id: str
) -> None:
    origin = spawn(module_worker, session_id, success_criteria="Ten runs", coordinator="ada")
    say(module_worker, origin, "what we know", data_refs={"log": 1})
    module_worker.do("archive_sidebar", sidebar_id=origin["sidebar_id"], reason="no time")
    outcome = module_worker.outcomes(
        module_worker.command(
            "fork_sidebar",
            {"sidebar_id": origin["sidebar_id"], "reason": "time again", "participants": ["ada", "eve"]},
        )
    )[0]
    fork = result_of(outcome)["sidebar"]
    assert (fork["forked_from"], fork["parent_id"], fork["status"]) == (origin["sidebar_id"], None, "active")
    assert (fork["participants"], fork["coordinator"], fork["reason"]) == (["ada", "eve"], "ada", "time again")
    assert (fork["data_refs"], fork["success_criteria"]) == ({"log": 1}, "Ten runs")
    events = events_of(outcome)
    assert [(event["type"], event["sidebar_id"]) for event in events] == [
        ("sidebar_fork", origin["sidebar_id"]), ("sidebar_fork", fork["sidebar_id"]),
    ]  # fmt: skip
    assert events[0]["sidebar"]["participants"] == ["ada", "bob"]
    assert inherited(whole(module_worker, fork, sender="eve")) == ["what we know"]
    revived = whole(module_worker, origin)
    assert (revived["status"], revived["cross_sidebar_refs"]) == ("archived", [fork["sidebar_id"]])


def test_a_merge_brings_everything_to_the_parent_once(module_worker: SessionWorker, session_id: str) -> None:
    top = spawn(module_worker, session_id)
    say(module_worker, top, "start")
    child = spawn(module_worker, session_id, parent_id=top["sidebar_id"], participants=["carl"])
    grandchild = spawn(module_worker, session_id, parent_id=child["sidebar_id"], sender="carl", participants=["carl"])
    say(module_worker, grandchild, "deep", sender="carl", data_refs={"depth": 2})
    refused = module_worker.do("merge_sidebar", sidebar_id=child["sidebar_id"], sender="carl")
    assert (refused["code"], refused["details"]["open_children"]) == ("conflict", [grandchild["sidebar_id"]])
    module_worker.do("merge_sidebar", sidebar_id=grandchild["sidebar_id"], findings="a leak", sender="carl")
    say(module_worker, child, "so that is it", sender="carl")

    outcome = module_worker.outcomes(
        module_worker.command(
            "merge_sidebar",
            f'{{"sidebar_id": "{child["sidebar_id"]}", "findings": {{"cause": 1e2}}, "success": false}}',
            sender="carl",
        )
    )[0]
    merged = result_of(outcome)["merged"]
    assert texts(merged["exchanges_to_merge"])[0] == "deep"
    assert (merged["exchange_count"], merged["parent_id"], merged["artifact_id"]) == (3, top["sidebar_id"], None)
    assert (merged["new_data_refs"], merged["success"]) == ({"depth": 2}, False)
    assert [(result["sidebar_id"], result["findings"]) for result in merged["child_results"]] == [
        (grandchild["sidebar_id"], "a leak")
    ]
    assert b'"consolidated_findings":{"cause": 1e2}' in outcome.reply
    events = events_of(outcome)
    assert [(event["type"], event["sidebar_id"]) for event in events] == [
        ("sidebar_status_update", child["sidebar_id"]),
        ("sidebar_status_update", child["sidebar_id"]),
        ("sidebar_merge", child["sidebar_id"]),
        ("sidebar_exchange", top["sidebar_id"]),
    ]
    assert [event["new_status"] for event in events[:2]] == ["consolidating", "merged"]
    above = whole(module_worker, top)
    assert [exchange["seq"] for exchange in above["local_memory"]] == [1, 2, 3, 4, 5]
    said = above["local_memory"]
    assert texts(said)[:2] + texts(said)[3:4] == ["start", "deep", "so that is it"]
    assert [exchange["origin_sidebar_id"] for exchange in said] == [
        None, grandchild["sidebar_id"], grandchild["sidebar_id"], child["sidebar_id"], child["sidebar_id"],
    ]  # fmt: skip
    assert (said[-1]["kind"], events[-1]["exchange"]) == ("merge", said[-1])
    assert said[1]["exchange_id"] == whole(module_worker, grandchild, sender="carl")["local_memory"][0]["exchange_id"]
    assert (above["data_refs"], above["exchange_count"]) == ({"depth": 2}, 5)
    again = module_worker.do("merge_sidebar", sidebar_id=child["sidebar_id"], sender="carl")
    assert (again["code"], again["details"]["status"]) == ("conflict", "merged")
    assert (whole(module_worker, child, sender="carl")["success"], above["child_sidebar_ids"]) == (
        False, [child["sidebar_id"]],
    )  # fmt: skip


def test_of_many_merges_at_once_one_is_done(module_database_url: str, session_id: str) -> None:
    workers = [SessionWorker(module_database_url)]
    worker = workers[0]
    parent = spawn(worker, session_id)
    child = spawn(worker, session_id, parent_id=parent["sidebar_id"])
    say(worker, child, "one", "two")

    async def race() -> list[str]:
        merges = [worker.command("merge_sidebar", {"sidebar_id": child["sidebar_id"]}) for _ in range(6)]
        posts = [worker.command("post_to_sidebar", {"sidebar_id": parent["sidebar_id"], "text": "x"}) for _ in merges]
        outcomes = await asyncio.gather(
            *(worker.commit(each) for pair in zip(merges, posts, strict=True) for each in pair)
        )
        return [outcome[0].outcome for outcome in outcomes]

    outcomes = worker.run(race())
    assert sorted(outcomes[::2]) == ["conflict"] * 5 + ["ok"]
    assert outcomes[1::2] == ["ok"] * 6
    above = whole(worker, parent)
    assert [exchange["seq"] for exchange in above["local_memory"]] == [*range(1, 10)]
    assert above["exchange_count"] == 9
    worker.close()


def test_a_merge_under_the_session_becomes_an_artifact_that_is_found(
    module_worker: SessionWorker, session_id: str
) -> None:
    sidebar = spawn(module_worker, session_id, success_criteria="Ten runs pass")
    say(module_worker, sidebar, "the zebra clock is mocked twice")
    outcome = module_worker.outcomes(
        module_worker.command("merge_sidebar", {"sidebar_id": sidebar["sidebar_id"], "findings": "quagga"})
    )[0]
    merged, events = result_of(outcome)["merged"], events_of(outcome)
    assert [event["type"] for event in events][-2:] == ["sidebar_merge", "artifact_added"]
    for word in ("zebra", "quagga"):
        (hit,) = module_worker.ask("search", q=word, session_id=session_id)["hits"]
        assert (hit["kind"], hit["id"]) == ("artifact", merged["artifact_id"])
    artifact = module_worker.ask("get_artifact", session_id=session_id, artifact_id=merged["artifact_id"])["artifact"]
    assert (artifact["type"], artifact["metadata"]["success"]) == ("sidebar_merge", True)
    assert "Met: Ten runs pass" in artifact["content"]
    assert module_worker.ask("get_session", session_id=session_id)["session"]["artifact_count"] == 1


def test_a_merge_into_a_closed_parent_is_refused_and_its_fork_goes_to_the_session(
    module_worker: SessionWorker, session_id: str
) -> None:
    parent = spawn(module_worker, session_id)
    child = spawn(module_worker, session_id, parent_id=parent["sidebar_id"])
    module_worker.do("set_sidebar_status", sidebar_id=parent["sidebar_id"], status="failed", reason="no disk")
    refused = module_worker.do("merge_sidebar", sidebar_id=child["sidebar_id"])
    assert (refused["code"], refused["details"]["parent_id"]) == ("conflict", parent["sidebar_id"])
    fork = module_worker.do("fork_sidebar", sidebar_id=child["sidebar_id"], reason="to be merged")["sidebar"]
    assert module_worker.do("merge_sidebar", sidebar_id=fork["sidebar_id"])["merged"]["artifact_id"]


def test_a_review_of_a_memory_is_opened_once_and_joined(module_worker: SessionWorker, session_id: str) -> None:
    def ask(versions: dict[str, int], *agents: str, **envelope: Any) -> dict[str, Any]:
        data = {
            "session_id": session_id, "participants": list(agents), "review_of": "plan",
            "task_description": "plan was written at once", "data_refs": versions,
        }  # fmt: skip
        envelope = {"sender": "system", **envelope}
        return result_of(module_worker.outcomes(module_worker.command("spawn_sidebar", data, **envelope))[0])

    assert ask({}, "ada", sender="ada")["code"] == "forbidden"
    assert ask({}, "ada", caller="a key")["code"] == "forbidden"
    review = ask({"v1": 1, "v2": 2}, "ada", "bob")["sidebar"]
    joined = ask({"v3": 3}, "bob", "eve")["sidebar"]
    assert joined["sidebar_id"] == review["sidebar_id"]
    assert (joined["participants"], joined["data_refs"]) == (["ada", "bob", "eve"], {"v1": 1, "v2": 2, "v3": 3})
    assert texts(whole(module_worker, review, sender="eve")["local_memory"]) == ["plan was written at once"]
    module_worker.do("merge_sidebar", sidebar_id=review["sidebar_id"])
    assert ask({}, "ada")["sidebar"]["sidebar_id"] != review["sidebar_id"]


def test_a_memory_that_is_written_at_once_all_day_does_not_fill_its_review(
    module_worker: SessionWorker, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidebars, "MOST_JOINED", 2)

    def join(*agents: str) -> list[str]:
        data = {"session_id": session_id, "participants": agents, "review_of": "k", "task_description": "again"}
        command = module_worker.command("spawn_sidebar", data, sender="system")
        return [event["type"] for event in events_of(module_worker.outcomes(command)[0])]

    assert join("ada", "bob") == ["sidebar_spawn"]
    assert [join("ada", "bob") for _ in range(3)] == [["sidebar_exchange"], ["sidebar_exchange"], []]
    assert join("bob", "eve") == ["sidebar_exchange"]
    assert join("bob", "eve") == []


def test_reviews_asked_for_at_once_are_one(module_worker: SessionWorker, session_id: str) -> None:
    data = {"session_id": session_id, "participants": ["ada"], "review_of": "k", "task_description": "t"}

    async def race() -> set[str]:
        asked = [module_worker.command("spawn_sidebar", data, sender="system") for _ in range(5)]
        outcomes = await asyncio.gather(*map(module_worker.commit, asked))
        return {result_of(outcome)["sidebar"]["sidebar_id"] for (outcome,) in outcomes}

    assert len(module_worker.run(race())) == 1


def test_a_batch_opens_a_sidebar_and_says_something_in_it_or_nothing_at_all(
    module_worker: SessionWorker, session_id: str
) -> None:
    sidebar_id = new_id()
    commands = [
        {"command": "spawn_sidebar", "data": {
            "session_id": session_id, "sidebar_id": sidebar_id, "participants": ["ada"], "task_description": "t"}},
        {"command": "post_to_sidebar", "data": {"sidebar_id": sidebar_id, "text": "one"}},
        {"command": "get_sidebar", "data": {"sidebar_id": sidebar_id}},
    ]  # fmt: skip
    undone = module_worker.do("batch", commands=[*commands, {"command": "merge_sidebar", "data": {"sidebar_id": "no"}}])
    assert (undone["code"], undone["details"]["index"]) == ("not_found", 3)
    results = module_worker.do("batch", commands=commands)["results"]
    assert texts(results[2]["sidebar"]["local_memory"]) == ["one"]
    second = module_worker.do("batch", commands=[{"command": "post_to_sidebar", "data": commands[1]["data"]}])
    assert second["results"][0]["exchange"]["seq"] == 2
