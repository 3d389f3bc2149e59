"""The ring of recent events, against a plain list."""

from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.stream.ring import Ring
from tests.unit.ws_gateway.wire import event


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 300)), min_size=1, max_size=20), max_size=30),
    st.integers(1, 40),
    st.integers(100, 5000),
)
def test_the_ring_holds_the_latest_events_within_both_bounds(
    batches: list[list[tuple[int, int]]], max_events: int, max_bytes: int
) -> None:
    ring = Ring(max_events, max_bytes, floor=9)
    everything = []
    cursor = 9
    for batch in batches:
        frames = []
        for step, size in batch:
            cursor += step
            frames.append(event(cursor, size=size))
        everything += frames
        ring.extend(frames)
        held = ring.after(ring.floor, 10_000)
        assert held == everything[len(everything) - len(held) :]
        assert len(ring) == len(held) <= max_events
        assert ring.bytes == sum(len(frame.data) for frame in held) <= max_bytes
        # No more has gone than had to.
        if len(held) < len(everything):
            evicted = everything[-len(held) - 1]
            assert ring.floor == evicted.cursor
            assert len(held) == max_events or ring.bytes + len(evicted.data) > max_bytes
        else:
            assert ring.floor == 9
        for since in range(ring.floor, cursor + 2):
            assert ring.covers(since)
            assert ring.after(since, 3) == [frame for frame in held if frame.cursor > since][:3]
        assert not ring.covers(ring.floor - 1)


def test_eviction_stays_cheap_over_a_long_time() -> None:
    ring = Ring(100, 10**9)
    for cursor in range(20_000):
        ring.extend([event(cursor)])
    assert [frame.cursor for frame in ring.after(19_990, 100)] == list(range(19_991, 20_000))
    assert len(ring._frames) < 2_000


def test_the_last_matching_event_is_found() -> None:
    ring = Ring(100, 10**6)
    ring.extend([event(1, "a"), event(2, "b"), event(3, "a"), event(4, "c")])
    found = ring.last(lambda frame: frame.routing_key == "a")
    assert found is not None
    assert found.cursor == 3
    assert ring.last(lambda frame: frame.routing_key == "z") is None
    ring.clear(10)
    assert ring.last(lambda frame: frame.routing_key == "a") is None
    assert (ring.floor, len(ring), ring.bytes) == (10, 0, 0)


def test_what_was_evicted_is_let_go_of() -> None:
    ring = Ring(1000, 10_000)
    for cursor in range(100):
        ring.extend([event(cursor, size=5_000)])
    assert sum(len(frame.data) for frame in ring._frames) <= 12_500
