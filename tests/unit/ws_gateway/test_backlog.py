"""What waits for a slow connection: priorities, bounds, and what is told of the dropped."""

import pytest

from services.ws_gateway.fanout.backlog import Backlog, Held, Overflow
from tests.unit.ws_gateway.wire import event, texts


def drained(backlog: Backlog) -> list[dict[str, object]]:
    data = b""
    while backlog:
        data += backlog.take()
    return texts(data)


def test_events_leave_by_priority_and_within_one_in_order() -> None:
    backlog = Backlog(10)
    for cursor, priority in enumerate(["low", "normal", "critical", "background", "high", "normal", "critical"]):
        backlog.add(event(cursor, priority=priority))
    assert [frame["cursor"] for frame in drained(backlog)] == [2, 6, 4, 1, 5, 0, 3]
    assert not backlog
    assert len(backlog) == 0


def test_an_event_that_overtakes_says_from_where_to_resume() -> None:
    backlog = Backlog(10)
    for cursor, priority in enumerate(["low", "critical", "normal"], start=5):
        backlog.add(event(cursor, priority=priority))
    assert [(frame["cursor"], frame.get("since")) for frame in drained(backlog)] == [(6, 4), (7, 4), (5, None)]


def test_a_full_backlog_drops_the_oldest_of_the_lowest_priority_and_tells() -> None:
    backlog = Backlog(3)
    for cursor, priority in enumerate(["normal", "low", "critical", "low", "normal", "high"], start=1):
        backlog.add(event(cursor, priority=priority))
    assert backlog.dropped == 3
    assert backlog.has_gap
    told, *events = drained(backlog)
    assert told == {"type": "gap", "from": 1, "to": 4, "reason": "backpressure"}
    assert [frame["cursor"] for frame in events] == [3, 6, 5]
    assert not backlog.has_gap


def test_the_event_itself_is_dropped_when_nothing_less_urgent_waits() -> None:
    backlog = Backlog(2)
    for cursor, priority in enumerate(["critical", "high", "low"], start=1):
        backlog.add(event(cursor, priority=priority))
    told, *events = drained(backlog)
    assert (told["from"], told["to"]) == (3, 3)
    assert [frame["cursor"] for frame in events] == [1, 2]


def test_critical_events_are_never_dropped() -> None:
    backlog = Backlog(2)
    backlog.add(event(1, priority="critical"))
    backlog.add(event(2, priority="critical"))
    backlog.add(event(3, priority="low"))
    with pytest.raises(Overflow):
        backlog.add(event(4, priority="critical"))


def test_bytes_are_bounded_too_but_one_event_always_fits() -> None:
    backlog = Backlog(100, max_bytes=2000)
    for cursor in range(1, 6):
        backlog.add(event(cursor, size=900))
    assert len(backlog) == 2
    assert backlog.dropped == 3
    backlog.add(event(6, size=5000))
    assert [frame["cursor"] for frame in drained(backlog) if frame["type"] == "test"] == [6]


def test_a_gap_is_told_even_when_nothing_waits_any_more() -> None:
    backlog = Backlog(1)
    backlog.add(event(1))
    backlog.take()
    backlog.add(event(2, size=10))
    backlog.add(event(3, priority="low"))
    assert backlog.take()
    assert not backlog


def test_what_stands_for_others_is_missed_with_them() -> None:
    held, backlog = Held(10), Backlog(1)
    held.hold(event(1), "k")
    held.hold(event(2), "k")
    for frame in [*held.take_all(), event(3)]:
        backlog.add(frame)
    told, kept = drained(backlog)
    assert (told["from"], told["to"], kept["cursor"]) == (1, 2, 3)


def test_what_is_held_is_given_in_order_whatever_its_priority() -> None:
    held = Held(10)
    for cursor, priority in enumerate(["low", "high", "normal"], start=1):
        held.hold(event(cursor, priority=priority))
    assert (held.first, len(held)) == (1, 3)
    assert [frame.cursor for frame in held.take_all()] == [1, 2, 3]
    assert (held.first, bool(held), held.take_gap()) == (None, False, b"")


def test_what_is_owed_elsewhere_is_overtaken_by_what_waits() -> None:
    backlog = Backlog(10)
    backlog.owed = 5
    for cursor in (4, 7):
        backlog.add(event(cursor))
    assert [(frame["cursor"], frame.get("since")) for frame in drained(backlog)] == [(4, None), (7, 4)]


def test_what_overtakes_one_that_stands_for_others_says_so_from_the_first_of_these() -> None:
    held, backlog = Held(10), Backlog(10)
    held.hold(event(1), "k")
    held.hold(event(2))
    held.hold(event(3), "k")
    for frame in [*held.take_all(), event(9, priority="critical")]:
        backlog.add(frame)
    assert backlog.oldest == 1
    told = [(frame["cursor"], frame.get("since")) for frame in drained(backlog)]
    assert told == [(9, 0), (2, 0), (3, None)]
    assert backlog.oldest is None
