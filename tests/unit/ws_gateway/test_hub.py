"""The hub: who gets what, in which write, and what happens to those who are slow."""

from services.ws_gateway.fanout.hub import JOIN_BYTES, SLOW_CONSUMER, Connection, Hub
from services.ws_gateway.fanout.interest import Interest
from services.ws_gateway.stream.frames import Frame
from services.ws_gateway.stream.ring import Ring
from tests.unit.ws_gateway.wire import Wire, event, texts


def new_hub() -> Hub:
    return Hub(Ring(1000, 10**7))


def joined(hub: Hub, *topics: str, room: int | None = None, max_waiting: int = 50) -> Wire:
    wire = Wire(hub, room, max_waiting)
    hub.join(wire.connection, Interest(frozenset(topics)))
    return wire


def test_each_connection_gets_exactly_the_events_it_asked_for() -> None:
    hub = new_hub()
    one, two, none = joined(hub, "a.*"), joined(hub, "#"), Wire(hub)
    hub.publish([event(1, "a.b"), event(2, "b.b"), event(3, "a.c")])
    assert (one.cursors(), two.cursors(), none.cursors()) == ([1, 3], [1, 2, 3], [])
    assert hub.cursor == 3
    assert (one.connection.sent, two.connection.sent, hub.frames_out) == (2, 3, 5)


def test_an_event_that_matches_two_patterns_of_a_connection_comes_once() -> None:
    hub = new_hub()
    wire = joined(hub, "a.*", "*.b", "#")
    hub.publish([event(1, "a.b")])
    assert wire.cursors() == [1]


def test_events_that_arrive_together_leave_in_one_write_joined_once_for_all() -> None:
    hub = new_hub()
    writes: list[bytes] = []
    wires = [joined(hub, "#") for _ in range(3)]
    for wire in wires:
        hub.leave(wire.connection)
        wire.connection.write = writes.append
        hub.join(wire.connection, Interest(frozenset({"#"})))
    hub.publish([event(cursor) for cursor in range(16)])
    assert len(writes) == 3
    assert writes[0] is writes[1] is writes[2]
    assert [frame["cursor"] for frame in texts(writes[0])] == list(range(16))


def test_a_long_run_is_cut_so_that_a_full_socket_is_noticed() -> None:
    hub = new_hub()
    wire = joined(hub, "#", room=1)
    hub.publish([event(cursor, size=1000) for cursor in range(200)])
    assert len(wire.written) <= JOIN_BYTES
    assert len(wire.connection.backlog) == 50


def test_connections_with_the_same_topics_share_a_group_and_the_last_to_leave_removes_it() -> None:
    hub = new_hub()
    one, two = joined(hub, "a", "b"), joined(hub, "b", "a")
    assert one.connection.group is two.connection.group
    hub.forget(one.connection)
    hub.publish([event(1, "a")])
    assert (one.cursors(), two.cursors()) == ([], [1])
    hub.forget(two.connection)
    hub.publish([event(2, "a")])
    assert (hub.directory.groups, hub.frames_out) == ({}, 1)


def test_a_new_subscription_counts_for_topics_seen_before() -> None:
    hub = new_hub()
    hub.publish([event(1, "a")])
    wire = joined(hub, "a")
    hub.publish([event(2, "a")])
    hub.join(wire.connection, Interest(frozenset({"b"})))
    hub.publish([event(3, "a"), event(4, "b")])
    hub.join(wire.connection, Interest(frozenset()))
    hub.publish([event(5, "b")])
    assert wire.cursors() == [2, 4]


def test_a_slow_connection_waits_and_the_others_do_not_notice() -> None:
    hub = new_hub()
    slow, fast = joined(hub, "#", room=1), joined(hub, "#")
    for cursor in range(1, 6):
        hub.publish([event(cursor)])
    assert fast.cursors() == [1, 2, 3, 4, 5]
    assert slow.cursors() == [1]
    assert hub.slow == 1
    slow.drain()
    assert slow.cursors() == [1, 2, 3, 4, 5]
    assert hub.slow == 0
    hub.publish([event(6)])
    assert slow.cursors() == [1, 2, 3, 4, 5, 6]
    assert (slow.connection.sent, slow.gaps()) == (6, [])


def test_a_connection_that_falls_behind_is_told_of_the_gap_before_what_follows() -> None:
    hub = new_hub()
    wire = joined(hub, "#", room=1, max_waiting=3)
    for cursor in range(1, 9):
        hub.publish([event(cursor)])
    wire.drain()
    assert [frame.get("cursor") for frame in wire.frames()] == [1, None, 6, 7, 8]
    assert wire.gaps() == [(2, 5, "backpressure")]
    assert (hub.dropped, hub.gaps) == (4, 1)


def test_a_socket_that_fills_again_keeps_the_rest_waiting() -> None:
    hub = new_hub()
    wire = joined(hub, "#", room=1)
    for cursor in range(1, 6):
        hub.publish([event(cursor, size=60_000)])
    wire.drain(room=1)
    assert wire.cursors() == [1, 2, 3]
    hub.publish([event(6)])
    wire.drain(room=10**9)
    assert wire.cursors() == [1, 2, 3, 4, 5, 6]


def test_a_connection_that_can_not_take_critical_events_is_closed() -> None:
    hub = new_hub()
    wire = joined(hub, "#", room=1, max_waiting=2)
    hub.publish([event(1)])
    hub.publish([event(cursor, priority="critical") for cursor in (2, 3, 4)])
    assert wire.closed is not None
    assert wire.closed[0] == SLOW_CONSUMER
    hub.publish([event(5)])
    hub.forget(wire.connection)
    assert (hub.slow, hub.directory.groups) == (0, {})


def test_what_waits_goes_out_before_a_close() -> None:
    hub = new_hub()
    wire = joined(hub, "#", room=1)
    for cursor in range(1, 5):
        hub.publish([event(cursor)])
    hub.flush(wire.connection)
    assert wire.cursors() == [1, 2, 3, 4]


def test_a_gap_for_all_reaches_everyone_who_listens() -> None:
    hub = new_hub()
    idle, slow, silent = joined(hub, "a"), joined(hub, "b", room=1), Wire(hub)
    hub.publish([event(1, "b")])
    hub.start(99)
    hub.tell_gap(2, 99, "epoch")
    assert idle.gaps() == slow.gaps() == [(2, 99, "epoch")]
    assert silent.frames() == []
    assert (hub.cursor, len(hub.ring)) == (99, 0)


class Patient:
    """A pacer that keeps what it is offered."""

    def __init__(self) -> None:
        self.kept: list[Frame] = []

    def offer(self, frames: list[Frame]) -> None:
        self.kept += frames

    def hold_nothing(self) -> None:
        """What it holds, the test gives."""

    def writable(self) -> None:
        """So is this."""


def test_a_pacer_is_offered_what_its_connection_is_to_get_and_nobody_else_notices() -> None:
    hub = new_hub()
    paced, other = joined(hub, "a"), joined(hub, "a")
    pacer = Patient()
    hub.pace(paced.connection, pacer)
    hub.publish([event(1, "a"), event(2, "b"), event(3, "a")])
    assert ([frame.cursor for frame in pacer.kept], paced.cursors(), other.cursors()) == ([1, 3], [], [1, 3])
    hub.give(paced.connection, pacer.kept)
    hub.unpace(paced.connection)
    hub.publish([event(4, "a")])
    assert (paced.cursors(), paced.connection.sent, len(pacer.kept)) == ([1, 3, 4], 3, 2)
    hub.forget(paced.connection)
    hub.forget(other.connection)
    assert hub.directory.groups == {}


def test_what_is_given_past_a_pacer_waits_while_the_socket_is_full() -> None:
    hub = new_hub()
    wire = joined(hub, "#", room=1)
    hub.pace(wire.connection, Patient())
    hub.give(wire.connection, [event(1)])
    hub.give(wire.connection, [event(2), event(3)])
    assert (wire.cursors(), hub.slow) == ([1], 1)
    wire.drain()
    assert (wire.cursors(), wire.connection.sent) == ([1, 2, 3], 3)


def test_whoever_was_given_a_critical_event_is_named() -> None:
    hub = new_hub()
    idle, slow, paced = joined(hub, "#"), joined(hub, "#", room=1), joined(hub, "#")
    joined(hub, "b")
    hub.pace(paced.connection, Patient())
    hub.publish([event(1)])
    given: list[tuple[set[Connection], int]] = []
    hub.on_critical = lambda connections, frame: given.append((set(connections), frame.cursor))
    hub.publish([event(2, "a"), event(3, "a", "critical")])
    assert given == [({idle.connection, slow.connection, paced.connection}, 3)]
