"""Replays, and the promise of the whole: in whatever order things happen, each event comes once or its loss is told."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from services.ws_gateway import backlog as backlog_module
from services.ws_gateway import hub as hub_module
from services.ws_gateway import replay as replay_module
from services.ws_gateway.frames import CRITICAL, Frame
from services.ws_gateway.hub import Hub
from services.ws_gateway.interest import Interest
from services.ws_gateway.replay import Claim, Gap, Page, Replay, State
from services.ws_gateway.ring import Ring
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


TOPICS = ["a.x", "a.y", "b.x"]
PATTERNS = ["#", "a.*", "*.x", "b.x"]
PRIORITIES = ["critical", "normal", "background"]
EVENTS = st.tuples(st.sampled_from(TOPICS), st.sampled_from(PRIORITIES), st.integers(1, 3))
# What a socket takes before it is full: everything, one write, or a few events.
ROOMS = st.sampled_from([None, 1, 1, 250])
READERS = 3
RING = 6
PAGE = 4


class Reader:
    """A client: keeps what it got, and resumes after `since` where an event overtook others, else after `cursor`."""

    def __init__(self, hub: Hub, pattern: str, since: int) -> None:
        self.interest = Interest(frozenset([pattern]))
        self.since = self.up_to = since
        self.cursors: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        self.wire = Wire(hub)
        self.replay: Replay | None = None

    def take(self, most: int | None = None) -> None:
        """Read what was written, as the client would; only the first frames, when the connection broke behind them."""
        frames: list[Any] = self.wire.frames()
        self.wire.written = b""
        here: set[int] = set()
        for frame in frames[:most]:
            if frame["type"] == "gap":
                self.gaps.append((frame["from"], frame["to"]))
                continue
            assert frame["cursor"] not in here
            here.add(frame["cursor"])
            if frame["cursor"] not in self.cursors:
                self.cursors.append(frame["cursor"])
            self.up_to = frame.get("since", frame["cursor"])


class AnyOrder(RuleBasedStateMachine):
    """Publishing, reading, stalling, breaking and resuming, in any order."""

    def __init__(self) -> None:
        super().__init__()
        # Small writes, so that sockets fill in the middle of everything.
        self.patches = pytest.MonkeyPatch()
        for module, name in (
            (replay_module, "JOIN_BYTES"),
            (hub_module, "JOIN_BYTES"),
            (backlog_module, "DRAIN_BYTES"),
        ):
            self.patches.setattr(module, name, 150)
        self.hub = Hub(Ring(RING, 10**6))
        self.log: list[Frame] = []
        self.readers: list[Reader] = []

    @initialize(
        before=st.lists(EVENTS, max_size=12),
        asked=st.lists(
            st.tuples(st.sampled_from(PATTERNS), st.integers(0, 20), ROOMS), min_size=READERS, max_size=READERS
        ),
    )
    def begin(self, before: list[tuple[str, str, int]], asked: list[tuple[str, int, int | None]]) -> None:
        if before:
            self.publish(before)
        for pattern, back, room in asked:
            self.readers.append(Reader(self.hub, pattern, max(-1, self.hub.cursor - back)))
            self.connect(self.readers[-1], room)

    @rule(events=st.lists(EVENTS, min_size=1, max_size=4))
    def publish(self, events: list[tuple[str, str, int]]) -> None:
        cursor = self.hub.cursor
        frames = []
        for topic, priority, step in events:
            cursor += step
            frames.append(event(cursor, topic, priority))
        self.log += frames
        self.hub.publish(frames)

    def connect(self, reader: Reader, room: int | None) -> None:
        """Come (back) and ask for everything from where the reader is."""
        self.hub.forget(reader.wire.connection)
        reader.wire = Wire(self.hub, room, max_waiting=3)
        self.replay(reader, [Claim(reader.interest, reader.up_to)])

    def replay(self, reader: Reader, claims: list[Claim]) -> None:
        self.hub.detach(reader.wire.connection)
        reader.replay = Replay(self.hub, reader.wire.connection, claims)
        self.step(reader)

    def step(self, reader: Reader) -> None:
        if reader.replay and reader.replay.step() is State.LIVE:
            reader.replay = None

    @rule(number=st.integers(0, READERS - 1))
    def go_on(self, number: int) -> None:
        """A replay gets its turn, or the page it waits for."""
        reader = self.readers[number]
        replay = reader.replay
        if replay and replay.step() is State.PAGE:
            until = min(replay.position + PAGE, self.hub.ring.floor)
            replay.feed(Page([frame for frame in self.log if replay.position < frame.cursor <= until], until))
        self.step(reader)

    @rule(number=st.integers(0, READERS - 1), room=ROOMS)
    def read(self, number: int, room: int | None) -> None:
        """The client reads all there is, so its socket has room again."""
        reader = self.readers[number]
        reader.take()
        reader.wire.drain(room)
        self.step(reader)

    @rule(number=st.integers(0, READERS - 1), seen=st.integers(0, 3), room=ROOMS)
    def break_and_resume(self, number: int, seen: int, room: int | None) -> None:
        """The connection is lost just when the client has begun to read again, with some of what was on its way."""
        reader = self.readers[number]
        if reader.wire.connection.paused:
            reader.take()
            reader.wire.drain(None)
        reader.take(seen)
        self.connect(reader, room)

    @rule(number=st.integers(0, READERS - 1))
    def ask_again(self, number: int) -> None:
        """What is in force is put in force anew, as by any further subscribe."""
        reader = self.readers[number]
        if not reader.wire.closed:
            now = [Claim(reader.interest, self.hub.cursor)]
            self.replay(reader, reader.replay.open_claims() if reader.replay else now)

    def teardown(self) -> None:
        self.patches.undo()
        for number, reader in enumerate(self.readers):
            for _ in range(200):
                if reader.wire.closed:
                    self.break_and_resume(number, 10**6, None)
                self.read(number, None)
                self.go_on(number)
            reader.take()
            assert reader.replay is None
            self.check(reader)
            self.hub.forget(reader.wire.connection)
        self.hub.directory.sweep()
        assert (self.hub.slow, self.hub.directory.groups, self.hub.directory.tree._root.children) == (0, {}, {})

    def check(self, reader: Reader) -> None:
        later = [frame for frame in self.log if frame.cursor > reader.since]
        wanted = {frame.cursor: frame for frame in later if reader.interest.matches(frame.routing_key)}
        assert set(reader.cursors) <= wanted.keys()
        for cursor in wanted.keys() - set(reader.cursors):
            assert any(first <= cursor <= last for first, last in reader.gaps), f"{cursor} is missing, and was not told"
            assert wanted[cursor].rank != CRITICAL, "a critical event was dropped"


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
