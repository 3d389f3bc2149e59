"""Replays: older events in order, from the ring and from pages, until the connection is live."""

from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.fanout.interest import Interest
from services.ws_gateway.history.replay import Claim, Gap, Page, Replay, State
from services.ws_gateway.stream.ring import Ring
from tests.unit.ws_gateway.wire import Wire, event


def filled_hub(cursors: range, ring: int = 1000) -> Hub:
    hub = Hub(Ring(ring, 10**7))
    for cursor in cursors:
        hub.publish([event(cursor, f"a.{cursor % 3}")])
    return hub


def begun(hub: Hub, wire: Wire, *claims: tuple[str, int, int | None]) -> Replay:
    hub.detach(wire.connection)
    return Replay(
        hub, wire.connection, [Claim(Interest(frozenset([topic])), after, until) for topic, after, until in claims]
    )


def test_a_replay_from_the_ring_ends_live_in_one_step() -> None:
    hub = filled_hub(range(1, 10))
    wire = Wire(hub)
    assert begun(hub, wire, ("a.1", 3, None)).step() is State.LIVE
    hub.publish([event(10, "a.1"), event(11, "a.2")])
    assert wire.cursors() == [4, 7, 10]


def test_a_replay_waits_for_the_socket_and_misses_nothing_meanwhile() -> None:
    hub = filled_hub(range(1, 2))
    hub.publish([event(cursor, size=40_000) for cursor in (2, 3, 4)])
    wire = Wire(hub, room=1)
    replay = begun(hub, wire, ("#", 0, None))
    assert replay.step() is State.FULL
    assert wire.cursors() == [1, 2]
    for cursor in range(5, 8):
        hub.publish([event(cursor)])
    wire.drain()
    assert replay.step() is State.LIVE
    assert wire.cursors() == [1, 2, 3, 4, 5, 6, 7]


def test_a_full_socket_does_not_keep_a_connection_from_joining_when_nothing_is_to_be_written() -> None:
    hub = filled_hub(range(1, 4))
    wire = Wire(hub)
    hub.pause(wire.connection)
    assert begun(hub, wire, ("#", 3, None)).step() is State.LIVE
    hub.publish([event(4), event(5)])
    assert wire.cursors() == []
    wire.drain()
    assert wire.cursors() == [4, 5]


def test_what_the_ring_has_lost_is_asked_for_as_pages() -> None:
    hub = filled_hub(range(1, 21), ring=5)
    wire = Wire(hub)
    replay = begun(hub, wire, ("#", 2, None))
    assert (replay.step(), replay.position) == (State.PAGE, 2)
    replay.feed(Page([event(cursor) for cursor in range(3, 11)], 10, overlap=["m2"]))
    assert (replay.step(), replay.position) == (State.PAGE, 10)
    replay.feed(Page([event(11), event(12, message_id="m3")], 15, missing=Gap(11, 11, "retention")))
    assert replay.step() is State.LIVE
    assert wire.cursors() == [3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20]
    assert wire.gaps() == [(11, 11, "retention")]


def test_copies_of_events_before_the_page_are_left_out() -> None:
    hub = filled_hub(range(10, 12), ring=3)
    hub.start(9)
    hub.publish([event(10), event(11, message_id="m8"), event(12)])
    wire = Wire(hub)
    replay = begun(hub, wire, ("#", 5, None))
    assert replay.step() is State.PAGE
    replay.feed(Page([event(6, message_id="m4"), event(8)], 9, overlap=["m4", "m5"]))
    assert replay.step() is State.LIVE
    assert wire.cursors() == [8, 10, 12]


def test_topics_added_later_with_their_past_do_not_repeat_the_others() -> None:
    hub = filled_hub(range(1, 7))
    wire = Wire(hub)
    begun(hub, wire, ("a.0", 0, None)).step()
    assert wire.cursors() == [3, 6]
    begun(hub, wire, ("a.0", 6, None), ("a.1", 0, None)).step()
    assert wire.cursors() == [3, 6, 1, 4]
    hub.publish([event(7, "a.0"), event(8, "a.1")])
    assert wire.cursors() == [3, 6, 1, 4, 7, 8]


def test_a_claim_with_an_end_is_over_at_its_end() -> None:
    hub = filled_hub(range(1, 7))
    wire = Wire(hub)
    assert begun(hub, wire, ("#", 0, 3)).step() is State.LIVE
    hub.publish([event(7)])
    assert wire.cursors() == [1, 2, 3]


def test_open_claims_say_what_is_still_to_come() -> None:
    hub = filled_hub(range(1, 7))
    wire = Wire(hub, room=1)
    replay = begun(hub, wire, ("a.1", 0, None), ("a.2", 5, None), ("#", 0, 1))
    replay.step()
    assert [(set(claim.interest.topics), claim.after) for claim in replay.open_claims()] == [({"a.1"}, 6), ({"a.2"}, 6)]


def test_which_topics_are_asked_for_changes_where_claims_begin_and_end() -> None:
    hub = filled_hub(range(1, 31), ring=2)
    replay = begun(hub, Wire(hub), ("a", 0, None), ("b", 9, None), ("c", 0, 4))
    assert replay.wanted_topics() == (frozenset("ac"), 4)
    replay.feed(Page([], 4))
    assert replay.wanted_topics() == (frozenset("a"), 9)
    replay.feed(Page([], 9))
    assert replay.wanted_topics() == (frozenset("ab"), None)
