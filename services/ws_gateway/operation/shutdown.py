"""Shutting down on an order: who it is for, what clients are told meanwhile, and when it ends. Free of I/O.

Of two orders the one that ends sooner holds, so an emergency overrides a longer countdown, and nothing lengthens one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from services.ws_gateway.stream.frames import Frame, message
from shared.logs import get_logger
from shared.messages.live import ShutdownMode, SystemShutdown, Urgency

TOPIC = SystemShutdown.topic
EVENTS = ("system_shutdown", "maintenance_shutdown", "emergency_shutdown_warning")
# An emergency is told of when so many seconds are left.
MARKS = (30, 15, 10, 5, 3, 2, 1)
# Who is told of maintenance has this long to read it.
READING_SECONDS = 2.0
# An order that reaches the gateway later than this, as after an outage of the broker, is not meant for today.
FRESH_SECONDS = 60.0

log = get_logger()


class Timer(Protocol):
    """Something that will happen unless it is cancelled."""

    def cancel(self) -> None:
        """Let it not happen."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a gateway is to do. `countdown`: seconds, of an emergency."""

    mode: ShutdownMode
    reason: str
    urgency: Urgency
    countdown: int
    ordered_by: str

    @property
    def seconds(self) -> float:
        """From its arrival to the closing of all connections."""
        if self.mode == "emergency":
            return float(self.countdown)
        return READING_SECONDS if self.mode == "maintenance" else 0.0

    @property
    def hint(self) -> str:
        """The reason its close frames give."""
        what = "shutdown" if self.mode == "clean" else f"{self.mode} shutdown"
        return f"{what}; resume from cursor"


def warnings(order: Order) -> list[tuple[float, int]]:
    """When clients are warned again, in seconds from now, and how many are left then.

    The order's own event, which reaches every client, is the first warning.
    """
    if order.mode != "emergency":
        return []
    return [(float(order.countdown - left), left) for left in MARKS if left < order.countdown]


class _Shutdown(msgspec.Struct):
    mode: ShutdownMode
    reason: str
    gateway_id: str | None
    countdown_seconds: int
    ordered_by: str


class _Event(msgspec.Struct):
    timestamp: datetime
    urgency: Urgency
    shutdown: _Shutdown


_EVENT = msgspec.json.Decoder(_Event)


class Shutdown:
    """Obeys the orders in the event stream that are meant for this gateway, once it is told where the stream stood."""

    def __init__(
        self,
        gateway_id: str,
        *,
        call_later: Callable[[float, Callable[[], None]], Timer],
        tell: Callable[[bytes], None],
        on_order: Callable[[Order], None],
        end: Callable[[Order], None],
        started_at: Callable[[], int | None],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` writes a frame to everyone, `on_order` hears of each order obeyed, `end` closes everything, once.

        `started_at` is the stream's last cursor when the gateway came up, None before that is known: older orders were
        given to its predecessors. `now` is the time of day in seconds since 1970, `clock` one that never goes back.
        """
        self._gateway_id = gateway_id
        self._call_later = call_later
        self._tell = tell
        self._on_order = on_order
        self._end = end
        self._started_at = started_at
        self._now = now
        self._clock = clock
        self._timers: list[Timer] = []
        self._ends_at = 0.0
        self._is_over = False
        self.order: Order | None = None

    @property
    def seconds_left(self) -> float:
        """Until everything is closed; 0 when that has begun. Only meaningful with an `order`."""
        return max(0.0, self._ends_at - self._clock())

    def look(self, frame: Frame) -> None:
        """Look at an event of one of the types in `EVENTS`; obey it when it is an order to this gateway, and new."""
        started_at = self._started_at()
        if frame.routing_key != TOPIC or started_at is None or frame.cursor <= started_at:
            return
        try:
            event = _EVENT.decode(frame.text)
        except msgspec.MsgspecError as fault:
            log.warning("shutdown_order_unreadable", cursor=frame.cursor, reason=str(fault)[:200])
            return
        asked = event.shutdown
        if asked.gateway_id not in (None, self._gateway_id):
            # Only those who listen to such orders hear of it here.
            frame.is_addressed = False
            return
        age = self._now() - event.timestamp.timestamp()
        if age >= FRESH_SECONDS:
            frame.is_addressed = False
            log.warning("shutdown_order_too_old", cursor=frame.cursor, age_s=round(age, 1), ordered_by=asked.ordered_by)
            return
        self.obey(Order(asked.mode, asked.reason, event.urgency, max(0, asked.countdown_seconds), asked.ordered_by))

    def obey(self, order: Order) -> bool:
        """Begin to shut down; false when that is under way already and ends as soon."""
        ends_at = self._clock() + order.seconds
        if self._is_over or (self.order is not None and ends_at >= self._ends_at):
            log.info("shutdown_order_ignored", mode=order.mode, ordered_by=order.ordered_by, left_s=self.seconds_left)
            return False
        for timer in self._timers:
            timer.cancel()
        self.order, self._ends_at = order, ends_at
        log.warning(
            "shutdown_ordered", mode=order.mode, ordered_by=order.ordered_by, reason=order.reason, in_s=order.seconds
        )
        self._on_order(order)
        # Even what is due at once waits for the order's own event, which is still on its way to the clients.
        self._timers = [
            *(self._call_later(after, partial(self._warn, order, left)) for after, left in warnings(order)),
            self._call_later(order.seconds, partial(self._finish, order)),
        ]
        return True

    def stop(self) -> None:
        """The gateway ends for another reason: warn no more."""
        self._is_over = True
        for timer in self._timers:
            timer.cancel()

    def _warn(self, order: Order, left: int) -> None:
        self._tell(warning(order, left))

    def _finish(self, order: Order) -> None:
        self.stop()
        self._end(order)


def warning(order: Order, left: int) -> bytes:
    """The frame that says how many seconds are left."""
    why = f": {order.reason}" if order.reason else ""
    return message(
        "emergency_shutdown_warning",
        message=f"The gateway shuts down in {left} s, for an emergency{why}",
        countdown_seconds=left,
        urgency=order.urgency,
    )
