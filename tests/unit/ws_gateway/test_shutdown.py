"""Orders to shut down: which are obeyed, what is told meanwhile, and when it ends."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.door.access import Refused
from services.ws_gateway.operation.shutdown import MARKS, READING_SECONDS, Order, Shutdown, warnings
from services.ws_gateway.stream.frames import Frame, event_frame
from shared.messages.live import (
    EmergencyShutdownWarning,
    MaintenanceShutdown,
    SystemShutdown,
)
from shared.messages.live import Shutdown as Ordered
from tests.unit.ws_gateway.house import House, Socket, token
from tests.unit.ws_gateway.wire import texts

pytestmark = pytest.mark.anyio

EVENTS = {"clean": SystemShutdown, "maintenance": MaintenanceShutdown, "emergency": EmergencyShutdownWarning}
NOON = 1_767_268_800.0


class Timer:
    def __init__(self, due: float, act: Callable[[], None]) -> None:
        self.due, self.act, self.is_cancelled = due, act, False

    def cancel(self) -> None:
        self.is_cancelled = True


class Room:
    """A gateway's clock, timers and clients, and what became of its orders."""

    def __init__(self, started_at: int | None = 100) -> None:
        self.time = 0.0
        self.timers: list[Timer] = []
        self.told: list[tuple[float, Any]] = []
        self.obeyed: list[Order] = []
        self.ended: list[tuple[float, Order]] = []
        self.shutdown = Shutdown(
            "g1",
            call_later=self._call_later,
            tell=lambda frame: self.told.append((self.time, texts(frame)[0])),
            on_order=self.obeyed.append,
            end=lambda order: self.ended.append((self.time, order)),
            started_at=lambda: started_at,
            now=lambda: NOON + self.time,
            clock=lambda: self.time,
        )

    def _call_later(self, seconds: float, act: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.time + seconds, act))
        return self.timers[-1]

    def until(self, time: float) -> None:
        """Let time pass."""
        while due := [timer for timer in self.timers if not timer.is_cancelled and timer.due <= time]:
            first = min(due, key=lambda timer: timer.due)
            self.timers.remove(first)
            self.time = first.due
            first.act()
        self.time = time

    def hear(
        self,
        mode: str,
        *,
        countdown: int = 0,
        gateway_id: str | None = None,
        cursor: int = 101,
        topic: str = "system.shutdown",
        timestamp: str = "2026-01-01T12:00:00.000000Z",
    ) -> Frame:
        """An order comes by."""
        ordered = Ordered(mode=mode, reason="why", gateway_id=gateway_id, countdown_seconds=countdown, ordered_by="ada")
        event = EVENTS[mode](
            shutdown=ordered, message="the reason", countdown_seconds=countdown or None, urgency="critical",
            timestamp=timestamp,
        )  # fmt: skip
        frame = event_frame(cursor, topic, event.encoded())
        self.shutdown.look(frame)
        return frame

    def countdown(self) -> list[tuple[float, int]]:
        return [(at, frame["countdown_seconds"]) for at, frame in self.told]


def order(mode: Any = "emergency", countdown: int = 0) -> Order:
    return Order(mode, "why", "critical", countdown, "ada")


def test_a_clean_order_ends_at_once_and_quietly() -> None:
    room = Room()
    room.hear("clean")
    assert room.ended == []  # its own event has not gone out yet
    room.until(0)
    assert [at for at, _ in room.ended] == [0]
    assert room.told == []


def test_maintenance_leaves_time_to_read() -> None:
    room = Room()
    room.hear("maintenance")
    room.until(READING_SECONDS - 0.01)
    assert room.ended == []
    room.until(READING_SECONDS)
    assert len(room.ended) == 1
    assert room.told == []


def test_an_emergency_counts_down() -> None:
    room = Room()
    room.hear("emergency", countdown=30)
    room.until(30)
    assert room.countdown() == [(15, 15), (20, 10), (25, 5), (27, 3), (28, 2), (29, 1)]
    assert room.told[0][1] == {
        "type": "emergency_shutdown_warning", "countdown_seconds": 15, "urgency": "critical",
        "message": "The gateway shuts down in 15 s, for an emergency: why",
    }  # fmt: skip
    assert [at for at, _ in room.ended] == [30]


@given(st.integers(0, 600))
def test_every_mark_below_the_start_is_told_of_once_when_it_is_reached(countdown: int) -> None:
    told = warnings(order(countdown=countdown))
    assert [left for _, left in told] == [mark for mark in MARKS if mark < countdown]
    assert all(after + left == countdown for after, left in told)


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.sampled_from(["clean", "maintenance", "emergency"]), st.integers(0, 100)),
        min_size=1,
        max_size=6,
    )
)
def test_of_several_orders_the_one_that_ends_first_holds(orders: list[tuple[float, str, int]]) -> None:
    room = Room()
    orders.sort(key=lambda each: each[0])
    ends = [at + order(mode, countdown).seconds for at, mode, countdown in orders]
    for at, mode, countdown in orders:
        room.until(at)
        room.shutdown.obey(order(mode, countdown))
    room.until(1000)
    (ended,) = room.ended
    assert ended[0] == pytest.approx(min(ends))
    # The last countdown that was begun is told of to its end, none goes on beside it.
    last = [left for at, left in room.countdown() if at > (orders[-1][0])]
    assert last == sorted(last, reverse=True)
    assert all(at <= ended[0] for at, _ in room.told)


def test_an_emergency_overrides_a_longer_countdown_and_nothing_lengthens_one() -> None:
    room = Room()
    assert room.shutdown.obey(order(countdown=60))
    room.until(10)
    assert room.shutdown.obey(order(countdown=3))
    assert not room.shutdown.obey(order(countdown=30))
    assert room.shutdown.seconds_left == 3
    room.until(100)
    assert room.countdown() == [(11, 2), (12, 1)]
    assert [at for at, _ in room.ended] == [13]
    assert len(room.obeyed) == 2
    assert not room.shutdown.obey(order("clean"))


def test_an_order_for_another_gateway_is_not_obeyed() -> None:
    room = Room()
    frame = room.hear("clean", gateway_id="g2")
    assert room.shutdown.order is None
    assert not frame.is_addressed  # for who listens, not for everyone
    frame = room.hear("clean", gateway_id="g1")
    assert room.shutdown.order is not None
    assert frame.is_addressed


@pytest.mark.parametrize("started_at", [None, 101, 200], ids=["not started", "the last of before", "long before"])
def test_an_order_of_before_the_start_is_not_obeyed(started_at: int | None) -> None:
    room = Room(started_at)
    room.hear("clean", cursor=101)
    assert room.shutdown.order is None


def test_an_order_that_comes_a_minute_late_is_not_obeyed() -> None:
    room = Room()
    frame = room.hear("clean", timestamp="2026-01-01T11:59:00.000000Z")
    assert room.shutdown.order is None
    assert not frame.is_addressed
    room.hear("clean", timestamp="2026-01-01T11:59:00.100000Z")
    assert room.shutdown.order is not None


def test_what_only_looks_like_an_order_is_not_obeyed() -> None:
    room = Room()
    room.hear("clean", topic="session.s1.insight")
    room.shutdown.look(event_frame(101, "system.shutdown", json.dumps({"type": "system_shutdown"}).encode()))
    assert room.shutdown.order is None


async def test_nobody_is_let_in_meanwhile_not_even_who_has_a_socket_already() -> None:
    house = House()
    stranger = house.enter()
    house.gateway.ending = "it ends"
    with pytest.raises(Refused) as refused:
        house.gateway.connect(Socket())
    assert (refused.value.code, refused.value.reason) == (1012, "it ends")
    stranger.client.answers.said(json.dumps({"type": "authenticate", "token": token()}).encode())
    assert stranger.socket.closed == (1012, "it ends")


def test_a_signal_ends_the_countdown() -> None:
    room = Room()
    room.hear("emergency", countdown=10)
    room.shutdown.stop()
    room.until(100)
    assert room.told == []
    assert room.ended == []
