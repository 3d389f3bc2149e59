"""From the stream to the hub."""

import json

import pytest
from prometheus_client import CollectorRegistry

from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.fanout.interest import Interest
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.stream.frames import Frame
from services.ws_gateway.stream.intake import Epoch, Intake
from services.ws_gateway.stream.ring import Ring
from shared.bus.tail import StreamEvent
from tests.unit.ws_gateway.wire import Wire


class Bench:
    def __init__(self, base: int = 100, start: int = 0) -> None:
        self.registry = CollectorRegistry()
        self.hub = Hub(Ring(1000, 10**6))
        self.intake = Intake(self.hub, Metrics(self.hub, self.registry))
        self.intake.begin(Epoch("e1", base), start)
        self.wire = Wire(self.hub)
        self.hub.join(self.wire.connection, Interest(frozenset({"#"})))

    def take(self, *events: tuple[int, str]) -> None:
        self.intake.take([stored(offset, message_id) for offset, message_id in events])

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"switchyard_gateway_{name}")


def stored(offset: int, message_id: str, body: bytes | None = None) -> StreamEvent:
    whole = json.dumps({"type": "test", "message_id": message_id}).encode()
    return StreamEvent(offset, "a.b", whole if body is None else body, message_id)


def test_a_cursor_is_the_base_and_the_offset() -> None:
    bench = Bench(base=100)
    bench.take((0, "m0"), (1, "m1"), (5, "m5"))
    assert bench.wire.cursors() == [100, 101, 105]
    assert (bench.hub.cursor, bench.intake.next_offset) == (105, 6)
    assert bench.metric("events_in_total") == 3


def test_copies_of_an_event_are_left_out_and_counted() -> None:
    bench = Bench()
    bench.take((0, "m0"), (1, "m0"))
    bench.take((2, "m1"), (3, "m0"))
    assert bench.wire.cursors() == [100, 102]
    assert bench.hub.cursor == 103
    assert bench.metric("copies_total") == 2


def test_what_is_read_twice_is_taken_once() -> None:
    bench = Bench()
    bench.take((0, "m0"), (1, "m1"))
    bench.take((1, "other"), (2, "m2"))
    assert bench.wire.cursors() == [100, 101, 102]


def test_what_is_no_event_is_skipped_and_counted() -> None:
    bench = Bench()
    bench.intake.take([stored(0, "m0", b""), stored(1, "m1", b"\xff"), stored(2, "m2")])
    assert bench.wire.cursors() == [102]
    assert bench.metric("unreadable_total") == 2
    bench.intake.take([stored(3, "m3", b"[]")])
    assert bench.hub.cursor == 103


def test_the_ring_does_not_claim_what_has_gone_from_the_stream() -> None:
    bench = Bench(start=10)
    assert bench.hub.ring.floor == 109
    bench.take((25, "m25"), (26, "m26"))
    assert bench.hub.ring.floor == 124
    bench.take((30, "m30"))
    assert bench.hub.ring.floor == 124


def test_a_stream_made_anew_goes_on_with_higher_cursors_and_all_are_told() -> None:
    bench = Bench(base=100)
    bench.take((0, "m0"), (1, "m1"))
    bench.intake.begin(Epoch("e2", 500), 0)
    assert bench.wire.gaps() == [(102, 499, "epoch")]
    bench.take((0, "m2"))
    assert bench.wire.cursors() == [100, 101, 500]
    assert (bench.hub.ring.floor, bench.intake.epoch.name) == (499, "e2")


def test_a_stream_that_lost_its_end_is_told_of_too() -> None:
    bench = Bench(base=0)
    bench.take((0, "m0"), (1, "m1"), (2, "m2"))
    bench.intake.restart(1)
    assert bench.wire.gaps() == [(1, 2, "epoch")]
    bench.take((1, "m3"))
    assert bench.wire.cursors() == [0, 1, 2, 1]


def test_a_status_told_again_is_left_out_but_looked_at() -> None:
    bench = Bench()
    seen: list[int] = []
    bench.intake.watch("agent_presence", lambda frame: seen.append(frame.cursor))
    for offset, second in enumerate((0, 10, 31)):
        body = {"type": "agent_presence", "timestamp": f"2026-01-01T00:00:{second:02}Z", "status": "online"}
        bench.intake.take([StreamEvent(offset, "agent.ana.presence", json.dumps(body).encode(), "")])
    assert [frame["cursor"] for frame in bench.wire.frames()] == [100, 102]
    assert seen == [100, 101, 102]
    assert bench.metric("repeated_statuses_total") == 1


def fail(frame: Frame) -> None:
    raise ZeroDivisionError


def test_whoever_looks_at_an_event_and_fails_does_not_hold_it_up() -> None:
    bench = Bench()
    bench.intake.watch("test", fail)
    bench.intake.on_written.append(fail)
    bench.take((0, "m0"), (1, "m1"))
    bench.take((2, "m2"))
    assert bench.wire.cursors() == [100, 101, 102]
    assert bench.metric("events_in_total") == 3


def test_events_that_could_not_be_handed_out_are_told_as_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.take((0, "m0"))
    with monkeypatch.context() as patched:
        patched.setattr(bench.hub.directory, "find", fail)
        bench.hub.directory.found.clear()
        bench.take((1, "m1"), (2, "m2"))
    bench.take((3, "m3"))
    assert (bench.wire.cursors(), bench.wire.gaps()) == ([100, 103], [(101, 102, "backpressure")])
