"""get_state, update_state, goals and spawned agents on a real database."""

import asyncio
from itertools import count

import orjson
import pytest

from tests.integration.handling import events_of, result_of

_numbers = count(1)


@pytest.fixture
def session(module_worker) -> str:
    """A fresh session."""
    session_id = f"s{next(_numbers)}"
    module_worker.do("create_session", session_id=session_id)
    return session_id


def patch(worker, session_id, text, **fields):
    more = orjson.dumps(fields)[1:-1].decode()
    data = f'{{"session_id":"{session_id}","patch":{text}{"," if more else ""}{more}}}'
    (outcome,) = worker.outcomes(worker.command("update_state", data))
    return outcome


def state_text(worker, session_id):
    return worker.ask_text("get_state", session_id=session_id).decode()


def test_a_new_session_has_an_empty_state_at_version_0(module_worker, session):
    assert module_worker.ask("get_state", session_id=session) == {
        "state": {"session_id": session, "goals": [], "agents": []}, "version": 0,
    }  # fmt: skip
    assert module_worker.ask("get_state", session_id="nowhere")["code"] == "not_found"


def test_a_session_opened_with_something_begins_with_it(module_worker, session):
    initial = '{ "task":1e2, "goals":["not ours"], "sessionId":"x", "é":null}'
    module_worker.do("create_session", f'{{"session_id":"{session}-i","initial":{initial}}}')
    text = state_text(module_worker, f"{session}-i")
    assert text == f'{{"state":{{"session_id":"{session}-i","task":1e2,"é":null,"goals":[],"agents":[]}},"version":0}}'
    # A goal does not lose what nobody has patched, and a patch starts from it.
    module_worker.do("add_goal", session_id=f"{session}-i", goal_id="g", description="d")
    assert '"task":1e2' in state_text(module_worker, f"{session}-i")
    assert b'"task":1e2,"\xc3\xa9":null,"b":2,' in patch(module_worker, f"{session}-i", '{"b":2}').reply
    for other in ('"text"', "[1]", "null"):
        made = module_worker.do("create_session", f'{{"initial":{other}}}')["session"]["session_id"]
        assert module_worker.ask("get_state", session_id=made)["state"] == {
            "session_id": made, "goals": [], "agents": [],
        }  # fmt: skip


def test_a_patch_is_answered_told_of_and_kept_in_the_senders_words(module_worker, session):
    first = patch(module_worker, session, '{"z":1e5,"a":{"big":36893488147419103232,"x":null,"deep":{"k":1.0}}}')
    members = '"z":1e5,"a":{"big":36893488147419103232,"deep":{"k":1.0}}'
    assert first.reply.decode() == (
        f'{{"ok":true,"result":{{"state":{{"session_id":"{session}",{members},"goals":[],"agents":[]}},"version":1}}}}'
    )
    (event,) = events_of(first)
    assert (event["type"], event["version"], event["session_seq"]) == ("state_updated", 1, 2)
    assert event["state"] == result_of(first)["state"]
    assert '"patch":{"z":1e5,"a":{"big":36893488147419103232,"x":null,"deep":{"k":1.0}}}' in first.events[0].body
    assert first.events[0].routing_key == f"session.{session}.state"
    assert members in state_text(module_worker, session)
    second = patch(module_worker, session, '{"a":{"deep":{"n":-0.0}},"z":null,"q":[1.50,null]}')
    assert b'"a":{"big":36893488147419103232,"deep":{"k":1.0,"n":-0.0}},"q":[1.50,null],"goals"' in second.reply
    assert result_of(second)["version"] == 2


def test_a_patch_that_changes_nothing_makes_no_version_and_no_event(module_worker, session):
    patch(module_worker, session, '{"a":1,"b":{"c":2}}')
    for nothing in ("{}", '{"a":1}', '{"nowhere":null}', '{"b":{"c":2,"d":null}}'):
        outcome = patch(module_worker, session, nothing)
        assert (outcome.outcome, outcome.events, result_of(outcome)["version"]) == ("ok", [], 1)


def test_if_version_guards_a_patch(module_worker, session):
    assert result_of(patch(module_worker, session, '{"a":1}', if_version=0))["version"] == 1
    refused = result_of(patch(module_worker, session, '{"a":2}', if_version=0))
    assert (refused["code"], refused["details"]) == (
        "conflict", {"session_id": session, "version": 1, "if_version": 0},
    )  # fmt: skip
    assert result_of(patch(module_worker, session, '{"a":3}', if_version=[0, 1]))["version"] == 2
    assert result_of(patch(module_worker, session, '{"a":4}', if_version=[]))["code"] == "conflict"
    assert module_worker.ask("get_state", session_id=session)["state"]["a"] == 3


def test_of_racers_with_one_version_one_wins(module_worker, session):
    commands = [
        module_worker.command("update_state", {"session_id": session, "patch": {"winner": n}, "if_version": 0})
        for n in range(20)
    ]

    async def all_at_once():
        return await asyncio.gather(*(module_worker.commit(command) for command in commands))

    outcomes = [outcome for (outcome,) in module_worker.run(all_at_once())]
    assert sorted(outcome.outcome for outcome in outcomes) == ["conflict"] * 19 + ["ok"]
    winner = next(n for n, outcome in enumerate(outcomes) if outcome.outcome == "ok")
    found = module_worker.ask("get_state", session_id=session)
    assert (found["state"]["winner"], found["version"]) == (winner, 1)


def test_unguarded_patches_at_once_all_count(module_worker, session):
    async def all_at_once():
        return await asyncio.gather(
            *(
                module_worker.commit(
                    *(
                        module_worker.command("update_state", {"session_id": session, "patch": {f"m{n}-{k}": k}})
                        for k in range(5)
                    )
                )
                for n in range(8)
            )
        )

    versions = [result_of(outcome)["version"] for batch in module_worker.run(all_at_once()) for outcome in batch]
    assert sorted(versions) == list(range(1, 41))
    found = module_worker.ask("get_state", session_id=session)
    assert (found["version"], len(found["state"])) == (40, 43)


def test_the_state_is_limited_to_a_megabyte(module_worker, session):
    assert patch(module_worker, session, orjson.dumps({"a": "x" * 900_000}).decode()).outcome == "ok"
    refused = result_of(patch(module_worker, session, orjson.dumps({"b": "x" * 200_000}).decode()))
    assert (refused["code"], refused["details"]["limit"]) == ("too_large", 1_000_000)
    assert module_worker.ask("get_state", session_id=session)["version"] == 1
    assert patch(module_worker, session, orjson.dumps({"a": None, "b": "x" * 200_000}).decode()).outcome == "ok"


def test_a_goal_is_set_changed_and_shown_in_the_state(module_worker, session):
    text = f'{{"session_id":"{session}","goal_id":"g1","description":"é\\nd","priority":"high","metadata":{{"w":1e2}}}}'
    (outcome,) = module_worker.outcomes(module_worker.command("add_goal", text))
    goal = result_of(outcome)["goal"]
    assert (goal["status"], goal["priority"], goal["description"]) == ("pending", "high", "é\nd")
    (event,) = events_of(outcome)
    assert (event["type"], event["goal"], event["version"]) == ("goal_added", goal, 1)
    assert outcome.events[0].routing_key == f"session.{session}.goal_added"
    changed = module_worker.outcomes(
        module_worker.command("update_goal", {"session_id": session, "goal_id": "g1", "status": "in_progress"})
    )[0]
    after = result_of(changed)["goal"]
    assert {**goal, "status": "in_progress", "updated": after["updated"]} == after
    assert after["updated"] > goal["updated"]
    assert (events_of(changed)[0]["type"], events_of(changed)[0]["version"]) == ("goal_updated", 2)
    module_worker.do("add_goal", session_id=session, goal_id="a-later-one", description="second")
    found = module_worker.ask("get_state", session_id=session)
    assert found["version"] == 3
    assert [each["goal_id"] for each in found["state"]["goals"]] == ["g1", "a-later-one"]
    assert {"session_id": session, **found["state"]["goals"][0]} == after
    assert '"metadata":{"w":1e2}' in state_text(module_worker, session)
    # The state that a patch tells of has them too.
    assert events_of(patch(module_worker, session, '{"a":1}'))[0]["state"]["goals"] == found["state"]["goals"]


def test_a_goal_that_is_taken_missing_or_not_changed(module_worker, session):
    module_worker.do("add_goal", session_id=session, goal_id="g1", description="d")
    assert module_worker.do("add_goal", session_id=session, goal_id="g1", description="other")["code"] == "conflict"
    assert module_worker.do("update_goal", session_id=session, goal_id="g2", status="blocked")["code"] == "not_found"
    assert module_worker.do("update_goal", session_id=session, goal_id="g1")["code"] == "invalid"
    assert module_worker.events("update_goal", session_id=session, goal_id="g1", status="pending") == []
    found = module_worker.ask("get_state", session_id=session)
    assert (found["version"], found["state"]["goals"][0]["description"]) == (1, "d")
    everything = {"status": "abandoned", "description": "e", "priority": "low", "metadata": [1]}
    goal = module_worker.do("update_goal", session_id=session, goal_id="g1", **everything)["goal"]
    assert {name: goal[name] for name in everything} == everything


def test_an_agent_is_spawned_and_completed_once(module_worker, session):
    (outcome,) = module_worker.outcomes(
        module_worker.command(
            "spawn_agent", {"session_id": session, "agent_id": "a1", "type": "processor", "description": "parses"}
        )
    )
    agent = result_of(outcome)["agent"]
    assert (agent["status"], agent["spawned_by"], agent["result"], agent["completed"]) == ("active", "ada", None, None)
    assert (events_of(outcome)[0]["type"], events_of(outcome)[0]["agent"]) == ("agent_spawned", agent)
    text = f'{{"session_id":"{session}","agent_id":"a1","result":{{"n":1e2}}}}'
    (outcome,) = module_worker.outcomes(module_worker.command("complete_agent", text))
    done = result_of(outcome)["agent"]
    assert {**agent, "status": "completed", "result": {"n": 100}, "completed": done["completed"]} == done
    assert done["completed"] >= done["created"]
    assert (events_of(outcome)[0]["type"], events_of(outcome)[0]["version"]) == ("agent_completed", 2)
    refused = module_worker.do("complete_agent", session_id=session, agent_id="a1", status="failed")
    assert (refused["code"], refused["details"]["status"]) == ("conflict", "completed")
    assert module_worker.do("spawn_agent", session_id=session, agent_id="a1", type="x")["code"] == "conflict"
    assert module_worker.do("complete_agent", session_id=session, agent_id="a2")["code"] == "not_found"
    module_worker.do("spawn_agent", session_id=session, agent_id="a2", type="x")
    failed = module_worker.do("complete_agent", session_id=session, agent_id="a2", status="failed")["agent"]
    assert (failed["status"], failed["result"]) == ("failed", None)
    found = module_worker.ask("get_state", session_id=session)
    assert [{"session_id": session, **each} for each in found["state"]["agents"]] == [done, failed]
    assert found["version"] == 4
    assert '"result":{"n":1e2}' in state_text(module_worker, session)


def test_goals_and_agents_take_only_so_much(module_worker, session, monkeypatch):
    monkeypatch.setattr("services.session_worker.states.MAX_PARTS", 2_000)
    module_worker.do("add_goal", session_id=session, goal_id="g1", description="x" * 1_000)
    refused = module_worker.do("spawn_agent", session_id=session, type="t", metadata={"x": "y" * 1_000})
    assert (refused["code"], refused["details"]["limit"]) == ("too_large", 2_000)
    assert module_worker.ask("get_state", session_id=session)["version"] == 1
    # What grows smaller makes room.
    module_worker.do("update_goal", session_id=session, goal_id="g1", description="x")
    assert "agent" in module_worker.do("spawn_agent", session_id=session, type="t", metadata={"x": "y" * 1_000})
    (row,) = module_worker.sql("select parts_size from session_states where session_id = :id", id=session)
    found = module_worker.ask("get_state", session_id=session)["state"]
    parts = [{"session_id": session, **each} for each in found["goals"] + found["agents"]]
    assert row.parts_size == sum(len(orjson.dumps(each)) for each in parts)


WRITES = {
    "update_state": {"patch": {"a": 2}},
    "add_goal": {"description": "d"},
    "update_goal": {"goal_id": "g1", "status": "blocked"},
    "spawn_agent": {"type": "t"},
    "complete_agent": {"agent_id": "a1"},
    "add_artifact": {"name": "n", "type": "t", "content": "c"},
}


def test_a_session_that_is_missing_or_closed_changes_no_more(module_worker, session):
    module_worker.do("update_state", session_id=session, patch={"a": 1})
    module_worker.do("add_goal", session_id=session, goal_id="g1", description="d")
    module_worker.do("spawn_agent", session_id=session, agent_id="a1", type="t")
    module_worker.do("complete_session", session_id=session)
    before = module_worker.ask("get_state", session_id=session)
    for name, fields in WRITES.items():
        assert module_worker.do(name, {"session_id": "nowhere", **fields})["code"] == "not_found"
        refused = module_worker.do(name, {"session_id": session, **fields})
        assert (refused["code"], refused["details"]["status"]) == ("conflict", "completed"), name
    assert module_worker.ask("get_state", session_id=session) == before
    module_worker.do("archive_session", session_id=session)
    assert module_worker.ask("get_state", session_id=session) == before


@pytest.mark.parametrize("name", WRITES)
def test_one_message_id_for_two_things_is_a_conflict(module_worker, session, name):
    module_worker.do("add_goal", session_id=session, goal_id="g1", description="d")
    module_worker.do("spawn_agent", session_id=session, agent_id="a1", type="t")
    first = module_worker.command(name, {"session_id": session, **WRITES[name]}, message_id=f"{name}-{session}")
    other = {
        "update_state": {"patch": {"a": 3}},
        "update_goal": {"goal_id": "g1", "status": "completed"},
        "complete_agent": {"agent_id": "a1", "status": "failed"},
    }.get(name, {**WRITES[name], "metadata": 7})
    second = module_worker.command(name, {"session_id": session, **other}, message_id=f"{name}-{session}")
    (one,), (again,), (two,) = (module_worker.outcomes(each) for each in (first, first, second))
    assert (one.outcome, again.outcome, two.outcome) == ("ok", "repeated", "conflict")
    assert again.reply == one.reply


def test_an_artifact_is_kept_told_of_and_found(module_worker, session):
    text = (
        f'{{"session_id":"{session}","artifact_id":"x1","name":"plan.md","type":"document","content":"# é",'
        '"format":"markdown","metadata":{"n":1e2}}'
    )
    (outcome,) = module_worker.outcomes(module_worker.command("add_artifact", text))
    artifact = result_of(outcome)["artifact"]
    assert (artifact["name"], artifact["content"], artifact["format"]) == ("plan.md", "# é", "markdown")
    assert artifact["author"] == "ada"
    (event,) = events_of(outcome)
    assert (event["type"], event["artifact"]) == ("artifact_added", artifact)
    assert outcome.events[0].routing_key == f"session.{session}.artifact"
    assert module_worker.ask("get_artifact", session_id=session, artifact_id="x1") == {"artifact": artifact}
    found = module_worker.ask_text("get_artifact", session_id=session, artifact_id="x1")
    assert b'"metadata":{"n":1e2}' in found and b'"metadata":{"n":1e2}' in outcome.reply
    assert module_worker.ask("get_session", session_id=session)["session"]["artifact_count"] == 1


def test_an_artifact_that_is_taken_or_missing(module_worker, session):
    made = module_worker.do("add_artifact", {"session_id": session, "name": "n", "type": "t", "content": "c"})[
        "artifact"
    ]
    assert (made["format"], made["metadata"]) == (None, {})
    again = {"session_id": session, "artifact_id": made["artifact_id"], "name": "n", "type": "t", "content": "other"}
    taken = module_worker.do("add_artifact", again)
    assert taken["code"] == "conflict"
    assert module_worker.ask("get_artifact", session_id=session, artifact_id="none")["code"] == "not_found"
    missing = module_worker.ask("get_artifact", session_id="nowhere", artifact_id=made["artifact_id"])
    assert (missing["code"], missing["details"]) == ("not_found", {"session_id": "nowhere"})
    assert module_worker.ask("get_session", session_id=session)["session"]["artifact_count"] == 1
