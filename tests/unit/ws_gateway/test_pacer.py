"""What a slow connection gets by its preference, and one that warms up: every event once and in order, or told of."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.pace.pacer import CRITICAL_ONLY, FULL_DELAYED, SUMMARIES, Pacer
from services.ws_gateway.pace.wishes import Contents, wishes_of
from services.ws_gateway.requests import SetMode
from services.ws_gateway.stream.frames import CRITICAL, Frame, event_frame
from services.ws_gateway.stream.ring import Ring
from shared.errors import Rejected
from tests.examples import examples
from tests.unit.ws_gateway.wire import Wire

DELAY = 10.0


def frame(cursor: int, kind: str = "test", priority: str = "normal", **more: Any) -> Frame:
    topics = {
        "memory_update": "memory.s1.updated", "task_created": "task.s1.created", "agent_presence": "agent.ben.presence",
        "mention_route": f"agent.{more.get('agent_id', 'ben')}.mentioned", "sidebar_exchange": "sidebar.b1.posted",
    }  # fmt: skip
    body = {"type": kind, "message_id": f"m{cursor}", "priority": priority, **more}
    return event_frame(cursor, topics.get(kind, "session.s1.chunk"), json.dumps(body).encode())


def memory(cursor: int, key: str, **more: Any) -> Frame:
    return frame(cursor, "memory_update", exchange={"session_id": "s1", "key": key, "content": cursor}, **more)


class Bench:
    def __init__(self, lane: str | None = None, max_waiting: int = 50, **said: Any) -> None:
        self.hub = Hub(Ring(10, 10**6))
        self.wire = Wire(self.hub, max_waiting=max_waiting)
        wishes = wishes_of("ana", SetMode(mode="everything", **said), None, Contents())
        self.pacer = Pacer(self.hub, self.wire.connection, wishes)
        self.hub.pace(self.wire.connection, self.pacer)
        if lane is not None:
            self.pacer.enter(lane, DELAY, 0.0)

    def told(self) -> list[Any]:
        """What was written since the last look: cursors of events, other frames whole."""
        frames, self.wire.written = self.wire.frames(), b""
        return [frame.get("cursor") or frame for frame in frames]


def test_counted_events_are_told_in_one_summary() -> None:
    bench = Bench(SUMMARIES, batchable_data=["status_updates", "test"])
    bench.pacer.offer([frame(1), frame(2, "agent_presence"), frame(3, "sidebar_exchange"), frame(4)])
    assert bench.told() == [3]
    bench.pacer.tick(DELAY - 1)
    assert bench.told() == []
    bench.pacer.tick(DELAY)
    assert bench.told() == [
        {
            "type": "summary", "from": 1, "to": 4, "events": 3, "by_type": {"test": 2, "agent_presence": 1},
            "by_topic": {"session.s1.chunk": 2, "agent.ben.presence": 1},
        }
    ]  # fmt: skip
    bench.pacer.tick(2 * DELAY)
    assert bench.told() == []


def test_what_goes_out_before_a_summary_says_from_where_to_resume() -> None:
    bench = Bench(SUMMARIES, batchable_data=["test"])
    bench.pacer.offer([frame(1, "sidebar_exchange"), frame(2), frame(3, "sidebar_exchange")])
    assert [(event["cursor"], event.get("since")) for event in bench.wire.frames()] == [(1, None), (3, 1)]


def test_held_events_come_together_and_in_order() -> None:
    bench = Bench(FULL_DELAYED)
    bench.pacer.offer([frame(1), frame(2, priority="high")])
    bench.pacer.offer([frame(3)])
    assert bench.told() == []
    assert bench.pacer.held == 3
    bench.pacer.tick(DELAY)
    assert bench.told() == [1, 2, 3]


def test_several_updates_of_one_memory_become_the_latest_which_says_so() -> None:
    bench = Bench(FULL_DELAYED)
    bench.pacer.offer([memory(1, "a"), memory(2, "b"), memory(3, "a"), frame(4), memory(5, "a"), frame(6)])
    bench.pacer.tick(DELAY)
    events = [(event["cursor"], event.get("since"), event.get("coalesced")) for event in bench.wire.frames()]
    assert events == [
        (2, 0, None), (4, 0, None), (5, None, {"events": 2, "from": 1, "to": 3}), (6, None, None),
    ]  # fmt: skip
    assert bench.pacer.coalesced == 2


def test_of_more_than_may_be_held_the_oldest_least_urgent_is_told_as_a_gap() -> None:
    bench = Bench(FULL_DELAYED, max_waiting=2)
    bench.pacer.offer([frame(1, priority="high"), memory(2, "a"), memory(3, "a"), frame(4), frame(5)])
    bench.pacer.tick(DELAY)
    assert bench.told() == [{"type": "gap", "from": 2, "to": 4, "reason": "backpressure"}, 1, 5]
    assert (bench.hub.dropped, bench.wire.connection.backlog.dropped) == (2, 2)


def test_all_but_the_critical_is_dropped_and_told_by_one_gap() -> None:
    bench = Bench(CRITICAL_ONLY)
    bench.pacer.offer([frame(1), frame(2), frame(3, priority="critical"), frame(4)])
    assert bench.told() == [3]
    bench.pacer.tick(DELAY)
    assert bench.told() == [{"type": "gap", "from": 1, "to": 4, "reason": "backpressure"}]
    assert (bench.hub.dropped, bench.hub.gaps) == (3, 1)


@pytest.mark.parametrize("lane", [SUMMARIES, FULL_DELAYED, CRITICAL_ONLY])
def test_what_concerns_the_client_or_is_required_comes_at_once(lane: str) -> None:
    bench = Bench(lane, required_data=["security_alerts", "sidebar_exchange"], batchable_data=["task_created", "test"])
    at_once = [
        frame(1, "mention_route", agent_id="ana"),
        frame(2, "task_created", task={"agent_name": "ana"}),
        frame(3, "security_alert"),
        frame(4, "sidebar_exchange"),
        frame(5, priority="urgent"),
    ]
    others = [frame(6, "mention_route", agent_id="ben"), frame(7, "task_created", task={"agent_name": "ben"}), frame(8)]
    bench.pacer.offer(at_once + others)
    assert bench.told() == [1, 2, 3, 4, 5, 6][: 6 if lane == SUMMARIES else 5]


def test_an_event_that_lacks_what_is_looked_for_is_paced_like_others() -> None:
    bench = Bench(FULL_DELAYED)
    bench.pacer.offer([frame(1, "memory_update"), frame(2, "task_created", task=7), frame(3, "memory_update")])
    assert bench.told() == []
    bench.pacer.tick(DELAY)
    assert bench.told() == [1, 2, 3]


def test_a_connection_that_recovers_gets_what_is_held() -> None:
    bench = Bench(FULL_DELAYED)
    bench.pacer.offer([frame(1)])
    bench.pacer.leave()
    assert bench.told() == [1]
    assert bench.pacer.is_idle
    bench.pacer.offer([frame(2)])
    assert bench.told() == [2]


def test_what_is_due_while_the_socket_is_full_waits_for_room_and_keeps_its_order() -> None:
    bench = Bench(FULL_DELAYED)
    bench.pacer.offer([frame(1), frame(2)])
    bench.hub.pause(bench.wire.connection)
    bench.pacer.offer([frame(3, priority="critical")])
    bench.pacer.leave()
    bench.pacer.offer([frame(4)])
    assert bench.told() == []
    bench.wire.drain()
    events = [(event["cursor"], event.get("since")) for event in bench.wire.frames()]
    assert events == [(3, 0), (1, None), (2, None), (4, None)]
    assert bench.pacer.is_idle


def test_a_warm_up_opens_stage_by_stage() -> None:
    bench = Bench()
    bench.pacer.warm_up(0.0, (10, 20, 30))
    events = [
        frame(1, "conversation_chunk_added"), memory(2, "a"), frame(3, "agent_presence"), frame(4, "session_paused"),
        frame(5, "sidebar_exchange"), memory(6, "a"), frame(7, priority="critical"),
    ]  # fmt: skip
    bench.pacer.offer(events)
    assert bench.told() == [{"type": "warmup", "stage": 1, "ready": False}, 3, 4, 7]
    bench.pacer.tick(10)
    assert bench.told() == [{"type": "warmup", "stage": 2, "ready": False}, 2, 5, 6]
    bench.pacer.offer([memory(8, "a"), frame(9)])
    assert bench.told() == [8]
    bench.pacer.tick(29)
    assert bench.told() == []
    bench.pacer.tick(30)
    assert bench.told() == [{"type": "warmup", "stage": 3, "ready": True}, 1, 9]
    assert bench.pacer.is_idle


def test_what_a_warm_up_can_not_hold_is_told_when_its_stage_opens() -> None:
    bench = Bench(max_waiting=2)
    bench.pacer.warm_up(0.0, (10, 20, 30))
    bench.pacer.offer([frame(cursor) for cursor in range(1, 6)])
    bench.pacer.tick(10)
    bench.pacer.tick(30)
    assert bench.told()[1:] == [
        {"type": "warmup", "stage": 2, "ready": False}, {"type": "gap", "from": 1, "to": 3, "reason": "backpressure"},
        {"type": "warmup", "stage": 3, "ready": True}, 4, 5,
    ]  # fmt: skip


def test_what_is_asked_for_does_not_come_before_what_is_held() -> None:
    bench = Bench(FULL_DELAYED)
    bench.pacer.warm_up(0.0)
    bench.pacer.offer([frame(1), memory(2, "a")])
    bench.pacer.hold_nothing()
    assert bench.told()[1:] == [1, 2]


def test_an_open_stage_still_obeys_the_slow_lane() -> None:
    bench = Bench(CRITICAL_ONLY)
    bench.pacer.warm_up(0.0, (1, 1, 1))
    bench.pacer.offer([memory(1, "a"), frame(2)])
    bench.pacer.tick(1)
    bench.pacer.tick(2)
    bench.pacer.tick(DELAY)
    assert bench.told()[-1] == {"type": "gap", "from": 1, "to": 2, "reason": "backpressure"}


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("required_data", ["No Such"]),
        ("batchable_data", [""]),
        ("required_data", ["a"] * 51),
        ("batchable_data", ["é"]),
    ],
)
def test_names_that_can_be_no_types_are_refused(field: str, names: list[str]) -> None:
    with pytest.raises(Rejected, match=field):
        wishes_of("ana", SetMode(mode="everything", **{field: names}), None, Contents())  # type: ignore[arg-type]


def test_what_a_wish_leaves_out_stays_as_it_was() -> None:
    contents = Contents()
    first = wishes_of(
        "ana",
        SetMode(mode="everything", slow_connection_preference="summaries", required_data=["test"]),
        None,
        contents,
    )
    second = wishes_of("ana", SetMode(mode="everything", batchable_data=["other"]), first, contents)
    assert (second.preference, second.required, second.batchable) == ("summaries", {"test"}, {"other"})


PRIORITIES = ["critical", "high", "normal", "normal", "low", "background"]
STEPS = st.one_of(
    st.tuples(
        st.just("offer"),
        st.lists(
            st.tuples(
                st.sampled_from(["test", "memory_update", "agent_presence", "sidebar_exchange"]),
                st.sampled_from(PRIORITIES),
                st.sampled_from("ab"),
            ),
            min_size=1,
            max_size=5,
        ),
    ),
    st.tuples(st.just("tick"), st.integers(1, 12)),
    st.tuples(st.just("drain"), st.integers(1, 600)),
    st.tuples(st.just("enter"), st.sampled_from([SUMMARIES, FULL_DELAYED, CRITICAL_ONLY])),
    st.tuples(st.sampled_from(["leave", "warm_up", "ask"]), st.none()),
)


class Run:
    """Steps as they come, and what the client may rely on after each."""

    def __init__(self) -> None:
        self.bench = Bench(max_waiting=6, batchable_data=["test", "agent_presence"])
        self.wire, self.pacer = self.bench.wire, self.bench.pacer
        self.now = 0.0
        self.cursor = 0
        self.critical: set[int] = set()

    def step(self, kind: str, value: Any) -> None:
        if kind == "offer":
            self.offer(value)
        elif kind == "tick":
            self.now += value
            self.pacer.tick(self.now)
        elif kind == "drain":
            self.wire.drain(value)
        elif kind == "enter":
            self.pacer.enter(value, DELAY, self.now)
        elif kind == "warm_up":
            self.pacer.warm_up(self.now, (5, 5, 5))
        elif kind == "leave":
            self.pacer.leave()
        else:
            self.pacer.hold_nothing()

    def offer(self, some: list[tuple[str, str, str]]) -> None:
        frames = []
        for kind, priority, key in some:
            self.cursor += 1
            make = memory(self.cursor, key, priority=priority) if kind == "memory_update" else None
            frames.append(make or frame(self.cursor, kind, priority))
        was_paused = self.wire.connection.paused
        self.pacer.offer(frames)
        critical = {frame.cursor for frame in frames if frame.rank == CRITICAL}
        self.critical |= critical
        if not was_paused and self.wire.closed is None:
            waits = {frame.cursor for lane in self.wire.connection.backlog._lanes for frame in lane}
            assert critical <= self.given() | waits
            if not self.wire.connection.paused:
                assert critical <= self.given()

    def given(self) -> set[int]:
        return {frame["cursor"] for frame in self.wire.frames() if "cursor" in frame}

    def told(self) -> set[int]:
        """Cursors given, or told not to come."""
        told = self.given()
        for frame in self.wire.frames():
            if frame["type"] in ("gap", "summary"):
                told |= set(range(frame["from"], frame["to"] + 1))
            elif merged := frame.get("coalesced"):
                told |= set(range(merged["from"], merged["to"] + 1))
        return told

    def check_resume(self) -> None:
        """Whoever resumes from where the last event says misses nothing it was not told of."""
        events = [frame for frame in self.wire.frames() if "cursor" in frame]
        if events:
            position = events[-1].get("since", events[-1]["cursor"])
            assert set(range(1, position + 1)) <= self.told()

    def finish(self) -> None:
        self.pacer.leave()
        self.pacer.hold_nothing()
        self.wire.drain()
        frames = self.wire.frames()
        events = [frame for frame in frames if "cursor" in frame]
        cursors = [event["cursor"] for event in events]
        assert len(cursors) == len(set(cursors))
        assert self.critical <= set(cursors)
        assert self.told() == set(range(1, self.cursor + 1))
        counted = sum(frame["events"] for frame in frames if frame["type"] == "summary")
        merged = sum(event.get("coalesced", {"events": 0})["events"] for event in events)
        lost = self.wire.connection.backlog.dropped
        assert len(cursors) + counted + lost + merged <= self.cursor <= len(cursors) + counted + lost + self.merged
        in_time = [event["cursor"] for event in events if "since" not in event]
        assert in_time == sorted(in_time)
        assert self.pacer.held == 0

    @property
    def merged(self) -> int:
        return self.pacer.coalesced


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_every_event_is_given_once_or_told_whatever_comes_between(steps: list[tuple[str, Any]]) -> None:
    run = Run()
    run.wire.room = 500
    for kind, value in steps:
        run.step(kind, value)
        run.check_resume()
        if run.wire.closed is not None:
            return
    run.finish()
