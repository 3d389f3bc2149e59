"""States, goals and agents without a database."""

import orjson
import pytest

from services.session_worker import agents, goals, states
from shared.errors import Rejected
from shared.messages import JsonText, decode_command, encode_command

MOMENT, LATER = "2026-01-01T00:00:00.000000Z", "2026-01-02T00:00:00.000000Z"


def command(name, **data):
    return decode_command(encode_command(name, data, message_id="m1", sender_agent_id="ada"))


def a_state(members=b"{}", version=3):
    return states.State("s1", members, b'[{"goal_id":"g"}]', b"[]", version)


def test_a_state_is_its_id_its_members_and_then_goals_and_agents():
    whole = a_state(b'{"z":1e5,"a":"\\u00e9"}').whole()
    assert whole.text == b'{"session_id":"s1","z":1e5,"a":"\\u00e9","goals":[{"goal_id":"g"}],"agents":[]}'


@pytest.mark.parametrize(
    ("initial", "members"),
    [
        (None, b"{}"),
        ('"text"', b"{}"),
        ("[1]", b"{}"),
        ("null", b"{}"),
        ('{"a":1e5}', b'{"a":1e5}'),
        ('{ "goals":[], "a":1e5,"agents":1,"sessionId":2,"session_id":3}', b'{"a":1e5}'),
    ],
)
def test_a_session_begins_with_the_members_it_was_opened_with(initial, members):
    assert states.first_members(initial) == members


@pytest.mark.parametrize("if_version", [None, 3, [3], [1, 3]])
def test_a_patch_for_this_version_makes_the_next(if_version):
    patched = states.patched(a_state(b'{"a":1}'), JsonText(b'{"b":2}'), if_version)
    assert (patched.members, patched.version, patched.goals) == (b'{"a":1,"b":2}', 4, a_state().goals)


@pytest.mark.parametrize("if_version", [0, 2, 4, [], [2, 4]])
def test_a_patch_for_another_version_is_a_conflict_naming_the_one_in_force(if_version):
    with pytest.raises(Rejected, match="at version 3") as refusal:
        states.patched(a_state(), JsonText(b'{"b":2}'), if_version)
    assert refusal.value.code == "conflict"
    assert refusal.value.details == {"session_id": "s1", "version": 3, "if_version": if_version}


def test_a_patch_that_changes_nothing_is_the_same_state_but_still_guarded():
    state = a_state(b'{"a":1}')
    assert states.patched(state, JsonText(b'{"a":1}'), 3) is state
    with pytest.raises(Rejected):
        states.patched(state, JsonText(b'{"a":1}'), 2)


def test_a_state_over_a_megabyte_is_refused_and_one_of_it_is_not():
    rest = len(b'{"a":""}')
    fits = JsonText(orjson.dumps({"a": "x" * (states.MAX_MEMBERS - rest)}))
    assert len(states.patched(a_state(), fits, None).members) == states.MAX_MEMBERS
    with pytest.raises(Rejected) as refusal:
        states.patched(a_state(), JsonText(orjson.dumps({"a": "x" * (states.MAX_MEMBERS - rest + 1)})), None)
    assert refusal.value.code == "too_large"


def test_a_goal_changes_only_in_what_was_asked():
    goal = goals.goal_of(command("add_goal", session_id="s1", description="d", priority="low"), MOMENT)
    changed = goals.updated(goal, command("update_goal", session_id="s1", goal_id="g", status="blocked").data, LATER)
    assert changed == goal.model_copy(update={"status": "blocked", "updated": LATER})
    same = command("update_goal", session_id="s1", goal_id="g", status="pending", priority="low").data
    assert goals.updated(goal, same, LATER) is goal
    for patch, metadata in (({"a": {"b": 1}}, b'{"a":{"b":1}}'), ([1], b"[1]"), ({"x": None}, None)):
        asked = command("update_goal", session_id="s1", goal_id="g", metadata=patch).data
        assert goals.updated(goal, asked, LATER).metadata == JsonText(metadata or b"{}")
    with pytest.raises(Rejected, match="name what is to change") as refusal:
        goals.updated(goal, command("update_goal", session_id="s1", goal_id="g").data, LATER)
    assert refusal.value.code == "invalid"


def test_an_agent_ends_once():
    agent = agents.agent_of(command("spawn_agent", session_id="s1", type="t"), MOMENT)
    assert (agent.status, agent.spawned_by, agent.completed) == ("active", "ada", None)
    ended = agents.completed(
        agent, command("complete_agent", session_id="s1", agent_id="a", status="failed", result=[1]).data, LATER
    )
    assert (ended.status, ended.completed, ended.result) == ("failed", LATER, JsonText(b"[1]"))
    with pytest.raises(Rejected, match="is failed since") as refusal:
        agents.completed(ended, command("complete_agent", session_id="s1", agent_id="a").data, LATER)
    assert refusal.value.code == "conflict"
