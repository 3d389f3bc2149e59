"""Presence across gateways: who sees whom, what is told, once, and which connections are one too many."""

import json

import pytest

from services.ws_gateway.agents.bulletins import Beat, decode, encode
from services.ws_gateway.agents.telling import REMEMBERED_AGENTS, Tellings
from services.ws_gateway.stream.frames import event_frame
from tests.unit.ws_gateway.town import Town


@pytest.fixture
def town() -> Town:
    """Three gateways that know each other."""
    made = Town("a", "b", "c")
    made.pass_time(3)
    return made


def test_every_gateway_sees_who_is_connected_to_any(town: Town) -> None:
    town.come("ana", "a")
    town.come("bob", "c")
    town.pass_time(0.3)
    assert all(gateway.view == town.truth for gateway in town.gateways.values())
    assert set(town.truth) == {"ana", "bob"}


def test_connecting_changing_and_leaving_are_each_told_once(town: Town) -> None:
    ana = town.come("ana", "b")
    town.pass_time(1)
    town.report(ana, status="working", current_context="the parser", specialties=["parsing", "parsing"])
    town.pass_time(1)
    town.go(ana)
    town.pass_time(5)
    assert town.told("ana") == ["online", "working", "offline"]
    assert town.log[1].current_context == "the parser"
    assert town.log[1].specialties == ["parsing"]
    assert (town.log[2].current_context, town.log[2].active_sidebars) == ("", [])
    assert town.log[0].sender_agent_id == "ws_gateway"


def test_what_changes_at_once_is_told_together(town: Town) -> None:
    ana = town.come("ana", "a")
    town.pass_time(1)
    for number in range(4):
        town.report(ana, status="working", current_context=f"step {number}")
        town.pass_time(0.1)
    town.pass_time(1)
    assert town.told("ana") == ["online", "working"]
    assert town.log[-1].current_context == "step 3"


def test_what_is_left_out_of_a_report_stays(town: Town) -> None:
    ana = town.come("ana", "a")
    town.report(ana, status="working", active_sidebars=["s1"])
    town.report(ana, current_context="here")
    town.pass_time(1)
    assert (town.log[-1].status, town.log[-1].active_sidebars, town.log[-1].current_context) == (
        "working", ["s1"], "here",
    )  # fmt: skip


def test_who_is_back_within_the_grace_was_never_gone_wherever_it_is(town: Town) -> None:
    ana = town.come("ana", "a")
    town.report(ana, status="working", current_context="here", specialties=["go"], active_sidebars=["s1"])
    town.pass_time(1)
    told = list(town.log)
    town.go(ana)
    town.pass_time(1)
    town.come("ana", "c")
    town.pass_time(5)
    assert town.log == told


def test_a_gateways_death_is_seen_within_two_seconds_and_told_once_after_the_grace(town: Town) -> None:
    for number in range(50):
        town.come(f"agent-{number}", "a")
    town.come("bob", "b")
    town.pass_time(1)
    town.kill("a")
    town.pass_time(1.7)
    assert all(gateway.view == town.truth for gateway in town.gateways.values())
    assert town.told("agent-7") == ["online"]
    town.pass_time(2.5)
    assert all(town.told(f"agent-{number}") == ["online", "offline"] for number in range(50))
    assert town.told("bob") == ["online"]


def test_a_gateway_that_says_goodbye_is_gone_at_once(town: Town) -> None:
    town.come("ana", "a")
    town.pass_time(1)
    town.stop("a")
    town.pass_time(0.1)
    assert all(gateway.view == {} for gateway in town.gateways.values())


def test_nobody_stays_a_ghost_when_all_gateways_are_killed(town: Town) -> None:
    town.come("ana", "a")
    town.come("bob", "b")
    town.pass_time(1)
    for gateway_id in list(town.gateways):
        town.kill(gateway_id)
    town.pass_time(5)
    town.start("d")
    town.start("e")
    town.pass_time(1)
    town.come("bob", "e")
    town.pass_time(5)
    assert town.told("ana") == ["online", "offline"]
    assert town.told("bob") == ["online"]


def test_who_was_told_online_longer_ago_than_the_log_in_memory_goes_is_no_ghost_either(town: Town) -> None:
    town.come("ana", "a")
    town.come("bob", "b")
    town.come("cid", "c")
    town.pass_time(1)
    recorded = [event.encoded() for event in town.log]
    for gateway_id in list(town.gateways):
        town.kill(gateway_id)
    town.tell(town.log[-1].model_copy(update={"message_id": "later", "agent_id": "cid", "status": "offline"}))
    alone = town.start("d")
    # All it reads of the log itself is that Cid has gone.
    alone.read = len(town.log) - 1
    alone.follow()
    for event in [*recorded, b"{}", b""]:
        alone.presence.recall(event)
    town.come("bob", "d")
    town.pass_time(6)
    assert town.told("ana") == ["online", "offline"]
    assert town.told("bob") == ["online"]
    assert town.told("cid") == ["online", "offline"]


def test_a_gateway_that_started_later_tells_nothing_again(town: Town) -> None:
    town.come("zoe", "c")
    town.pass_time(1)
    # It leads, and its part of the log begins behind what was told of Zoe.
    town.start("0").read = len(town.log)
    town.pass_time(4)
    assert town.told("zoe") == ["online"]
    town.kill("c")
    town.pass_time(5)
    assert town.told("zoe") == ["online", "offline"]


def test_a_second_connection_at_another_gateway_is_closed(town: Town) -> None:
    first = town.come("ana", "b")
    town.pass_time(0.3)
    second = town.come("ana", "a")
    observer = town.come("ana", "a", permission="observer")
    town.pass_time(1.5)
    assert set(town.closed) == {second}
    assert "already" in town.closed[second]
    assert set(town.seats) == {first, observer}


def test_who_changes_gateways_in_a_moment_is_not_one_too_many_even_where_all_have_just_started() -> None:
    town = Town("a", "b")
    town.pass_time(0.6)
    first = town.come("ana", "a")
    town.pass_time(0.3)
    assert "ana" in town.gateways["b"].view
    town.go(first)
    town.come("ana", "b")
    town.pass_time(5)
    assert town.closed == {}
    assert town.told("ana") == ["online"]


def test_of_two_connections_at_the_same_time_one_stays(town: Town) -> None:
    connections = [town.come("ana", gateway_id) for gateway_id in "cab"]
    town.pass_time(2)
    assert set(town.seats) == {connections[0]}


def test_a_human_has_five_tabs_over_all_gateways(town: Town) -> None:
    tabs = []
    for number in range(6):
        tabs.append(town.come("eve", "abc"[number % 3], kind="human"))
        town.pass_time(0.2)
    town.pass_time(2)
    assert set(town.closed) == {tabs[5]}


def test_who_comes_back_after_a_gateways_death_is_let_in(town: Town) -> None:
    town.come("ana", "a")
    town.pass_time(1)
    town.kill("a")
    back = town.come("ana", "b")
    town.pass_time(6)
    assert set(town.seats) == {back}
    assert town.told("ana") == ["online"]


def test_a_gateway_that_was_taken_for_dead_gives_way_to_who_came_meanwhile(town: Town) -> None:
    town.come("ana", "a")
    stays = town.come("bob", "a")
    town.pass_time(1)
    town.gateways["a"].is_stalled = True
    town.pass_time(3)
    back = town.come("ana", "b")
    town.pass_time(0.5)
    town.gateways["a"].is_stalled = False
    town.pass_time(4)
    assert set(town.seats) == {stays, back}
    assert all(gateway.view == town.truth for gateway in town.gateways.values())
    assert town.told("ana") == ["online"]


def test_who_resumes_a_connection_has_its_seat_and_the_old_one_is_closed(town: Town) -> None:
    old = town.come("ana", "a")
    town.pass_time(1)
    new = town.come("ana", "b", instead_of=old)
    town.pass_time(2)
    assert town.closed == {old: "resumed elsewhere"}
    assert set(town.seats) == {new}
    assert town.told("ana") == ["online"]


def test_a_gateway_without_a_broker_takes_nobody_for_dead(town: Town) -> None:
    town.come("ana", "b")
    own = town.come("bob", "a")
    town.pass_time(1)
    town.gateways["a"].cut_off()
    town.pass_time(5)
    assert set(town.gateways["a"].view) == {"ana", "bob"}
    # The others can't know whether Bob is still there.
    assert town.told("bob") == ["online", "offline"]
    town.gateways["a"].join_again()
    town.pass_time(4)
    assert set(town.seats) >= {own}
    assert all(gateway.view == town.truth for gateway in town.gateways.values())
    assert town.told("bob") == ["online", "offline", "online"]
    assert town.told("ana") == ["online"]


def test_while_the_broker_stands_still_nothing_is_told(town: Town) -> None:
    for agent_id, gateway_id in (("ana", "a"), ("bob", "b"), ("cid", "c")):
        town.come(agent_id, gateway_id)
    town.pass_time(1)
    told = list(town.log)
    for gateway in town.gateways.values():
        gateway.cut_off()
    town.pass_time(20)
    for gateway_id in ("c", "b", "a"):
        town.gateways[gateway_id].join_again()
        town.pass_time(1)
    town.pass_time(5)
    assert town.log == told
    assert all(gateway.view == town.truth for gateway in town.gateways.values())


def test_who_sends_nothing_is_idle_until_it_does(town: Town) -> None:
    ana = town.come("ana", "a")
    town.report(ana, status="working")
    town.pass_time(1)
    presence = town.gateways["a"].presence
    presence.is_active("ana", False)
    town.pass_time(1)
    presence.is_active("ana", True)
    town.pass_time(1)
    assert town.told("ana") == ["working", "idle", "working"] or town.told("ana") == [
        "online", "working", "idle", "working",
    ]  # fmt: skip


def test_sidebars_are_those_of_the_events_unless_the_agent_says_so_itself(town: Town) -> None:
    ana = town.come("ana", "a")
    presence = town.gateways["a"].presence
    presence.takes_part("ana", ("s1", "s2"))
    town.pass_time(1)
    assert town.log[-1].active_sidebars == ["s1", "s2"]
    town.report(ana, active_sidebars=[])
    town.pass_time(1)
    assert town.log[-1].active_sidebars == []


def test_the_status_display_hears_of_everyone_from_any_gateway(town: Town) -> None:
    ana = town.come("ana", "b")
    town.report(ana, status="working", current_context="here", specialties=["go"], active_sidebars=["s1"])
    town.pass_time(0.3)
    (row,) = town.gateways["c"].presence.agents()
    assert row.pop("since").startswith("1970-01-01T00:16:43")
    assert row == {
        "agent_id": "ana", "kind": "agent", "status": "working", "current_context": "here", "active_sidebars": ["s1"],
        "specialties": ["go"], "load": 1, "readiness": 48, "gateway_id": "b",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"{}", b'{"type":"beat"}', b'{"type":"dance","gateway_id":"b","incarnation":1}',
     b'{"type":"beat","gateway_id":7,"incarnation":1,"version":1}', b"[" * 100_000,
     b'{"type":"full","gateway_id":"z","incarnation":1,"version":1,"part":3,"parts":2}'],
    ids=range(9),
)  # fmt: skip
def test_gossip_that_is_none_is_ignored(town: Town, body: bytes) -> None:
    town.come("ana", "b")
    town.pass_time(0.5)
    town.say(body)
    town.pass_time(1)
    assert all(gateway.view == town.truth for gateway in town.gateways.values())
    assert all(gateway.presence.replicas.alive == ["a", "b", "c"] for gateway in town.gateways.values())


def test_a_presence_event_that_is_not_from_the_gateways_is_corrected(town: Town) -> None:
    town.come("ana", "b")
    town.pass_time(1)
    town.tell(town.log[0].model_copy(update={"message_id": "forged", "status": "offline"}))
    town.pass_time(2)
    assert town.told("ana")[-1] == "online"


def test_idle_gossip_is_small(town: Town) -> None:
    for number in range(100):
        town.come(f"agent-{number}", "a")
    town.pass_time(2)
    town.sent = 0
    town.pass_time(10)
    assert town.sent < 10 * 3 * 2.2 * 100


def test_many_seats_travel_in_parts(town: Town) -> None:
    for number in range(1200):
        town.come(f"agent-{number}", "a")
    town.pass_time(2)
    town.start("d")
    town.pass_time(2)
    assert town.gateways["d"].view == town.truth


def test_what_was_told_of_the_gone_is_forgotten_in_the_end() -> None:
    tellings = Tellings(1.0)
    for number in range(REMEMBERED_AGENTS + 5):
        tellings.was_told(f"agent-{number}", f"m{number}", None, (), 0.0)
    assert len(tellings) == REMEMBERED_AGENTS


def test_a_message_travels_as_it_is() -> None:
    beat = Beat(gateway_id="a", incarnation=2, version=7, may_tell=True, void=[("b", 1)])
    assert decode(encode(beat)) == beat


def test_a_status_that_there_is_not_does_no_harm(town: Town) -> None:
    body = {"type": "agent_presence", "message_id": "m", "agent_id": "ana", "status": "dancing"}
    for gateway in town.gateways.values():
        gateway.presence.look(event_frame(1, "agent.ana.presence", json.dumps(body).encode()))
    town.come("ana", "a")
    town.pass_time(1)
    assert all(gateway.view == town.truth for gateway in town.gateways.values())
    assert town.told("ana") == ["online"]
