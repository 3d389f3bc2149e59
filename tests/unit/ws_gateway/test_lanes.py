"""Emergencies: they reach everyone who is connected, at once, before all that waits, and are never dropped."""

import json
from typing import Any

import pytest

from services.ws_gateway.fanout.hub import Connection, Hub
from services.ws_gateway.fanout.interest import Interest
from services.ws_gateway.pace.pacer import CRITICAL_ONLY, Pacer
from services.ws_gateway.pace.wishes import Contents, wishes_of
from services.ws_gateway.stream.frames import LANES, Frame, event_frame
from services.ws_gateway.stream.ring import Ring
from tests.unit.ws_gateway.wire import Wire, event

A_B = Interest(frozenset({"a.b"}))


def emergency(cursor: int, kind: str = "security_emergency_broadcast", priority: str = "critical") -> Frame:
    body = {"type": kind, "message_id": f"m{cursor}", "priority": priority, "priority_lane": True}
    return event_frame(cursor, "system.security_emergency", json.dumps(body).encode())


@pytest.fixture
def hub() -> Hub:
    hub = Hub(Ring(1000, 10**7))
    hub.start(0)
    return hub


def seat(hub: Hub, agent_id: str, interest: Interest | None = None, **more: Any) -> Wire:
    wire = Wire(hub, **more)
    hub.seat(wire.connection, agent_id)
    if interest is not None:
        hub.join(wire.connection, interest)
    return wire


def alarms(wire: Wire) -> list[tuple[int, int | None]]:
    """Cursor and `since` of every emergency that was written."""
    return [(frame["cursor"], frame.get("since")) for frame in wire.frames() if frame["type"] in LANES]


@pytest.mark.parametrize("kind", LANES)
def test_an_emergency_reaches_everyone_whatever_they_asked_for_and_once(hub: Hub, kind: str) -> None:
    silent, other = seat(hub, "ana"), seat(hub, "ben", A_B)
    both = seat(hub, "cem", Interest(frozenset({"system.*", "#"})))
    focused = seat(hub, "dan", Interest(frozenset({"a.b"}), mode="relevant"))
    hub.publish([emergency(1, kind)])
    assert [alarms(wire) for wire in (silent, other, both, focused)] == [[(1, None)]] * 4


def test_it_goes_past_all_that_waits_for_a_slow_connection_critical_events_too(hub: Hub) -> None:
    slow = seat(hub, "ana", A_B, room=0, max_waiting=3)
    hub.publish([event(1)])
    hub.publish([event(2, priority="critical"), event(3, priority="critical"), event(4, priority="critical")])
    hub.publish([emergency(5)])
    assert slow.closed is None
    assert alarms(slow) == [(5, 1)]
    assert slow.cursors() == [1]
    slow.drain()
    assert slow.cursors() == [1, 2, 3, 4]
    assert len(alarms(slow)) == 1


def test_many_of_them_neither_drop_anything_nor_close_a_slow_connection(hub: Hub) -> None:
    slow = seat(hub, "ana", A_B, room=0, max_waiting=3)
    hub.publish([event(1)])
    for cursor in range(2, 52):
        hub.publish([emergency(cursor)])
    assert slow.closed is None
    assert [cursor for cursor, _ in alarms(slow)] == list(range(2, 52))
    assert hub.dropped == 0


def test_what_was_dropped_before_it_is_still_owed(hub: Hub) -> None:
    slow = seat(hub, "ana", A_B, room=0, max_waiting=2)
    hub.publish([event(1)])
    hub.publish([event(cursor) for cursor in range(2, 7)])
    hub.publish([emergency(7)])
    assert alarms(slow) == [(7, 1)]
    slow.drain()
    assert slow.gaps() == [(2, 4, "backpressure")]
    assert slow.cursors() == [1, 5, 6]


def test_it_comes_at_once_to_a_paced_connection(hub: Hub) -> None:
    paced = seat(hub, "ana", A_B)
    pacer = Pacer(hub, paced.connection, wishes_of("ana", None, None, Contents()))
    hub.pace(paced.connection, pacer)
    pacer.enter(CRITICAL_ONLY, 5.0, 0.0)
    hub.publish([event(1)])
    hub.publish([emergency(2, priority="low")])
    assert alarms(paced) == [(2, 0)]


def test_it_comes_to_a_connection_that_is_given_older_events_and_once(hub: Hub) -> None:
    away = seat(hub, "ana")
    position = 40
    away.connection.position = lambda: position
    hub.publish([emergency(90)])
    assert alarms(away) == [(90, 40)]
    hub.pause(away.connection)
    hub.publish([emergency(91)])
    assert alarms(away) == [(90, 40), (91, 40)]


def test_it_is_critical_whoever_made_it(hub: Hub) -> None:
    told: list[tuple[list[Connection], int]] = []
    hub.on_critical = lambda connections, frame: told.append((list(connections), frame.cursor))
    wire = seat(hub, "ana")
    hub.publish([emergency(1, priority="background")])
    assert told == [([wire.connection], 1)]
