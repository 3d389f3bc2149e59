"""What connections want: focus, what concerns an agent, audiences, pushes and digests."""

import json
from typing import Any

import pytest

from services.ws_gateway.fanout import digests as digests_module
from services.ws_gateway.fanout.digests import BEATS, Digests
from services.ws_gateway.fanout.filters import FocusFilter, read_focus
from services.ws_gateway.fanout.hub import Connection, Hub
from services.ws_gateway.fanout.interest import EVERYTHING, Interest
from services.ws_gateway.fanout.relevance import PLACES, REMEMBERED, Relevance
from services.ws_gateway.history.replay import Claim, Replay, State
from services.ws_gateway.requests import Focus, Mode
from services.ws_gateway.stream.frames import Frame, event_frame
from services.ws_gateway.stream.ring import Ring
from shared.errors import Rejected
from tests.unit.ws_gateway.wire import Wire

PARTICIPANTS = ["ana", "bo"]


def new_hub() -> Hub:
    return Hub(Ring(1000, 10**7))


def heard(hub: Hub, agent_id: str, interest: Interest = EVERYTHING, *, is_admin: bool = False) -> Wire:
    """A connection of an agent that listens to all topics."""
    wire = Wire(hub)
    hub.seat(wire.connection, agent_id, is_admin=is_admin)
    join(hub, wire.connection, interest.of(interest.topics or frozenset({"#"})))
    return wire


def join(hub: Hub, connection: Connection, interest: Interest) -> None:
    hub.follow(connection, follows=interest.is_own)
    hub.detach(connection)
    hub.join(connection, interest)


def made(cursor: int, topic: str = "a.b", **body: Any) -> Frame:
    fields = {"type": "test", "message_id": f"m{cursor}", **body}
    return event_frame(cursor, topic, json.dumps(fields).encode())


def cursors(wire: Wire) -> list[int]:
    return [frame["cursor"] for frame in wire.frames() if "cursor" in frame]


@pytest.mark.parametrize(
    ("focus", "body", "within"),
    [
        (Focus(topics=["memory.*.updated"]), {}, True),
        (Focus(topics=["task.#"]), {}, False),
        (Focus(tags=["Queue"]), {"exchange": {"tags": ["queue", "x"]}}, True),
        (Focus(tags=["queue"]), {"exchange": {"tags": "queue"}}, False),
        (Focus(words=["Deadline"]), {"exchange": {"content": {"text": "the DEADLINE is near"}}}, True),
        (Focus(words=["dead"]), {"exchange": {"content": "the deadline"}}, False),
        (Focus(words=["rate  limit"]), {"text": "the rate-limit of"}, True),
        (Focus(words=["rate limit"]), {"text": "limit rate"}, False),
        (Focus(words=["content"]), {"exchange": {"content": "a member's name is no text"}}, False),
        (Focus(words=["s1"]), {"session_id": "s1"}, False),
        (Focus(words=["締切"]), {"text": "明日が締切です"}, True),
        (Focus(words=["Straße"]), {"text": "STRASSE"}, True),
        (Focus(tags=["x"], words=["y"]), {"text": ["no", {"deep": ["y"]}]}, True),
    ],
)
def test_one_of_topics_tags_and_words_is_enough(focus: Focus, body: dict[str, Any], within: bool) -> None:
    assert read_focus(focus).admits(made(1, "memory.s1.updated", **body)) is within


def test_a_focus_says_what_can_not_be_in_it() -> None:
    with pytest.raises(Rejected, match="no letter and no digit"):
        read_focus(Focus(words=["..."]))


def test_what_others_put_into_events_does_no_harm() -> None:
    odd = {"sender_agent_id": 5, "session": [1], "sidebar": {"participants": [1, {}]}, "task": None, "tags": {"a": 1}}
    about = made(1, "sidebar.w.x", **odd, participants="ana", exchange={"mentions": "ana", "tags": [None]}).about
    assert (about.sender, about.agents, about.tags, about.participants) == ("", frozenset(), frozenset(), frozenset())
    deep = b'{"type":"test","text":' + b"[" * 5000 + b"]" * 5000 + b"}"
    frame = Frame(1, "a", 2, "", b"\x81\x7f" + len(deep).to_bytes(8, "big") + deep)
    assert (frame.about.sender, frame.words.each) == ("", frozenset())


def test_a_focused_group_gets_what_lies_within_its_focus_among_what_its_topics_match() -> None:
    hub = new_hub()
    focus = FocusFilter(tags=frozenset({"queue"}))
    ana = heard(hub, "ana", Interest(frozenset({"memory.#", "#"}), mode="focused", focus=focus))
    hub.publish([
        made(1, "memory.s1.updated", exchange={"tags": ["queue"]}),
        made(2, "memory.s1.updated", exchange={"tags": ["other"]}),
        made(3, "task.s1.created", exchange={"tags": ["queue"]}),
    ])  # fmt: skip
    assert cursors(ana) == [1, 3]


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("session.s1.chunk", {"session_id": "s1", "sender_agent_id": "zed"}),
        ("memory.s1.updated", {"session_id": "s9", "sender_agent_id": "ana"}),
        ("memory.s1.updated", {"session_id": "s9", "sidebar_id": "w"}),
        ("session.s9.created", {"type": "session_created", "session_id": "s9", "session": {"participants": ["ana"]}}),
        ("session.s9.agent_spawned", {"type": "agent_spawned", "session_id": "s9", "agent": {"agent_id": "ana"}}),
        ("task.s9.created", {"type": "task_created", "session_id": "s9", "task": {"agent_name": "ana"}}),
        ("agent.ana.mentioned", {"type": "mention_route", "agent_id": "ana"}),
        ("sidebar.v.posted", {"sidebar": {"participants": ["bo"]}, "exchange": {"mentions": ["ana"]}}),
        ("sidebar.v.child_spawned", {"sidebar": {"participants": ["bo"]}, "assigned_agents": ["ana"]}),
        ("system.x", {"priority": "critical"}),
    ],
)
def test_what_concerns_an_agent_is_relevant(topic: str, body: dict[str, Any]) -> None:
    relevance = Relevance()
    relevance.follow("ana")
    relevance.merge("ana", ["s1"], ["w"])
    frame = made(1, topic, **body)
    relevance.learn(frame)
    concerned = relevance.concerned(frame)
    assert concerned is None or "ana" in concerned
    assert relevance.concerns(frame, "ana")


def test_what_concerns_others_is_not_relevant() -> None:
    hub = new_hub()
    ana, bo = heard(hub, "ana", Interest(mode="relevant")), heard(hub, "bo", Interest(mode="relevant"))
    one = {"type": "session_created", "session_id": "s1", "session": {"participants": ["ana"]}}
    hub.publish([
        made(1, "session.s1.created", **one),
        made(2, "session.s1.chunk", session_id="s1", sender_agent_id="zed"),
        made(3, "session.s2.chunk", session_id="s2", sender_agent_id="bo"),
        made(4, "session.s2.chunk", session_id="s2", sender_agent_id="zed"),
        made(5, "webhook.github.push"),
    ])  # fmt: skip
    assert (cursors(ana), cursors(bo)) == ([1, 2], [3, 4])
    hub.publish([made(6, "session.s1.chunk", session_id="s1", sender_agent_id="bo")])
    assert (cursors(ana), cursors(bo)) == ([1, 2, 6], [3, 4, 6])
    assert ana.connection.group is bo.connection.group


def test_many_agents_of_a_session_hear_of_it_and_those_of_other_topics_do_not() -> None:
    hub = new_hub()
    agents = [f"agent-{number}" for number in range(200)]
    relevant = Interest(mode="relevant")
    wires = [heard(hub, agent, relevant) for agent in agents]
    elsewhere = heard(hub, "agent-0", Interest(frozenset({"task.#"}), mode="relevant"))
    session = {"type": "session_created", "session_id": "s1", "session": {"participants": agents[:150]}}
    hub.publish([made(1, "session.s1.created", **session), made(2, "session.s1.chunk", session_id="s1")])
    assert [cursors(wire) for wire in wires] == [[1, 2]] * 150 + [[]] * 50
    assert cursors(elsewhere) == []
    assert wires[0].written is not wires[1].written


def test_everything_without_peripheral_awareness_is_what_concerns_the_agent() -> None:
    hub = new_hub()
    ana = heard(hub, "ana", Interest(peripheral_awareness=False))
    hub.relevance.merge("ana", ["s1"], [])
    hub.publish([made(1, session_id="s1"), made(2, session_id="s2"), made(3, priority="critical")])
    assert cursors(ana) == [1, 3]


def test_places_and_agents_are_remembered_up_to_a_number() -> None:
    relevance = Relevance()
    relevance.follow("ana")
    relevance.merge("ana", ["old", "older"], [])
    for number in range(PLACES):
        relevance.learn(made(number, session_id=f"s{number}", sender_agent_id="ana"))
    assert not relevance.concerns(made(1, session_id="old"), "ana")
    assert relevance.concerns(made(1, session_id=f"s{PLACES - 1}"), "ana")
    for number in range(REMEMBERED + 10):
        relevance.follow(f"agent-{number}")
        relevance.merge(f"agent-{number}", ["s1"], ["w"])
        relevance.unfollow(f"agent-{number}")
    assert relevance.knows("ana")
    assert not relevance.knows("agent-9")
    assert relevance.knows("agent-10")
    relevance.follow("agent-10")
    relevance.doubt()
    assert (relevance.unknown, relevance.knows("agent-11")) == (["ana", "agent-10"], False)
    relevance.unfollow("ana")
    relevance.unfollow("agent-10")
    assert (relevance.listens, relevance._sessions, relevance._sidebars) == (False, {}, {})


def test_events_of_a_sidebar_reach_its_participants_and_admins_alone() -> None:
    hub = new_hub()
    wires = {agent: heard(hub, agent, is_admin=agent == "root") for agent in ("ana", "bo", "cy", "root")}
    stranger = Wire(hub)
    hub.join(stranger.connection, Interest(frozenset({"#"})))
    hub.publish([
        made(1), made(2, "sidebar.w.posted", sidebar={"participants": PARTICIPANTS}), made(3),
        made(4, "sidebar.w.odd"), made(5, "elsewhere", type="sidebar_exchange", sidebar={"participants": ["cy"]}),
    ])  # fmt: skip
    assert {agent: cursors(wire) for agent, wire in wires.items()} == {
        "ana": [1, 2, 3], "bo": [1, 2, 3], "cy": [1, 3, 5], "root": [1, 2, 3, 4, 5],
    }  # fmt: skip
    assert cursors(stranger) == [1, 3]


def test_a_mention_reaches_its_agent_whatever_it_is_subscribed_to_and_others_who_may_hear_it() -> None:
    hub = new_hub()
    ana, bo, cy = (
        heard(hub, agent, Interest(frozenset({topic}))) for agent, topic in zip("abc", ("x", "#", "#"), strict=True)
    )
    silent = Wire(hub)
    hub.seat(silent.connection, "a")
    body = {"type": "mention_route", "agent_id": "a"}
    hub.publish([made(1, "x"), made(2, "agent.a.mentioned", **body), made(3, "x")])
    hub.publish([made(4, "agent.a.mentioned", **body, participants=["b"])])
    assert (cursors(ana), cursors(bo), cursors(cy)) == ([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3])
    assert cursors(silent) == [2, 4]
    hub.forget(silent.connection)
    hub.publish([made(5, "agent.a.mentioned", **body)])
    assert cursors(silent) == [2, 4]


def test_an_emergency_reaches_everyone_once_and_what_looks_like_an_attack_admins_alone() -> None:
    hub = new_hub()
    ana, bo = heard(hub, "ana"), heard(hub, "bo", Interest(frozenset({"x"}), mode="relevant"))
    root = heard(hub, "root", is_admin=True)
    given: list[int] = []
    hub.on_critical = lambda connections, frame: given.extend(len(connections) * [frame.cursor])
    hub.publish([
        made(1, "system.critical_failure", type="critical_failure_broadcast", priority="critical"),
        made(2, "system.security_alert", type="security_alert"),
        made(3, "system.unacknowledged", type="unacknowledged_updates"),
    ])  # fmt: skip
    assert (cursors(ana), cursors(bo), cursors(root)) == ([1], [1], [1, 2, 3])
    assert given == [1, 1, 1]


def test_what_is_pushed_during_a_replay_overtakes_the_rest_and_does_not_come_again() -> None:
    hub = new_hub()
    for cursor in range(1, 6):
        hub.publish([made(cursor)])
    wire = Wire(hub, room=1)
    hub.seat(wire.connection, "ana")
    replay = Replay(hub, wire.connection, [Claim(Interest(frozenset({"#"})), 0)])
    hub.pause(wire.connection)
    assert replay.step() is State.FULL
    hub.publish([made(6), made(7, type="mention_route", agent_id="ana")])
    wire.drain()
    assert [(frame["cursor"], frame.get("since")) for frame in wire.frames()] == [(7, 0)]
    assert replay.step() is State.LIVE
    hub.publish([made(8)])
    assert cursors(wire) == [7, 1, 2, 3, 4, 5, 6, 8]


def digests(wire: Wire) -> list[dict[str, Any]]:
    found = [frame for frame in wire.frames() if frame["type"] == "peripheral_update"]
    wire.written = b""
    return found


def after_ten_beats(digest: Digests) -> None:
    for _ in range(BEATS):
        digest.beat()


@pytest.mark.parametrize("mode", ["focused", "relevant"])
def test_what_passes_by_is_told_of_every_ten_seconds(mode: Mode) -> None:
    hub = new_hub()
    digest = Digests(hub)
    focus = FocusFilter(words=frozenset({"door"})) if mode == "focused" else FocusFilter()
    ana = heard(hub, "ana", Interest(frozenset({"a.#", "a.x"}), mode, focus))
    deaf = heard(hub, "ana", Interest(frozenset({"a.#"}), mode, focus, peripheral_awareness=False))
    all_of_it = heard(hub, "ana")
    mine = {"text": "a door", "exchange": {"mentions": ["ana"]}}
    hub.publish([made(1, "a.x"), made(2, "a.x", **mine), made(3, "a.y"), made(4, "a.x"), made(5, "b")])
    after_ten_beats(digest)
    expected = {"type": "peripheral_update", "from": 0, "to": 5, "events": 3, "topics": {"a.x": 2, "a.y": 1}}
    assert (digests(ana), digests(deaf), digests(all_of_it)) == ([expected], [], [])
    after_ten_beats(digest)
    assert digests(ana) == []
    hub.publish([made(6, f"a.{number}") for number in range(300)])
    after_ten_beats(digest)
    (last,) = digests(ana)
    assert (last["from"], last["events"], len(last["topics"])) == (6, 300, 10)


def test_who_was_given_some_is_told_of_the_rest_alone() -> None:
    hub = new_hub()
    digest = Digests(hub)
    ana, bo = (heard(hub, agent, Interest(mode="relevant")) for agent in ("ana", "bo"))
    hub.publish([made(1, "a", exchange={"mentions": ["ana"]}), made(2, "a"), made(3, "b", priority="critical")])
    after_ten_beats(digest)
    assert [[told["events"] for told in digests(wire)] for wire in (ana, bo)] == [[1], [2]]
    hub.publish([made(4, "a", exchange={"mentions": ["ana"]})])
    after_ten_beats(digest)
    assert [len(digests(wire)) for wire in (ana, bo)] == [0, 1]


def test_a_digest_counts_no_more_than_happened_up_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests_module, "AT_ONCE", 1)
    hub = new_hub()
    digest = Digests(hub)
    wires = [heard(hub, "ana", Interest(frozenset({"a"}), "focused", FocusFilter(words=frozenset({w})))) for w in "bc"]
    hub.publish([made(1, "a")])
    after_ten_beats(digest)
    hub.publish([made(2, "a")])
    for _ in range(BEATS):
        digest.beat()
    told = [[(each["from"], each["to"], each["events"]) for each in digests(wire)] for wire in wires]
    assert told == [[(0, 1, 1), (2, 2, 1)], [(0, 1, 1)]]
    digest.beat()
    assert [(each["from"], each["to"], each["events"]) for each in digests(wires[1])] == [(2, 2, 1)]


def test_who_reads_too_slowly_is_not_sent_digests_on_top() -> None:
    hub = new_hub()
    digest = Digests(hub)
    wire = heard(hub, "ana", Interest(frozenset({"a"}), "focused", FocusFilter(words=frozenset({"b"}))))
    hub.pause(wire.connection)
    hub.publish([made(1, "a")])
    after_ten_beats(digest)
    assert digests(wire) == []
