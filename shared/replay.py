"""A session's recorded events given again at the pace they had: for the ingress and the gateway. No I/O of its own."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from shared.errors import invalid

PAGE = 100
MAX_SPEED = 1_000.0

# Runs `replay_page` with this data; returns the text of its result. Raises as commands do.
ReadPage = Callable[[dict[str, Any]], Awaitable[bytes]]
Clock = Callable[[], float]


class Recorded(NamedTuple):
    """An event: `place` to go on after, when it happened (Unix seconds), and its JSON with its cursor."""

    place: str
    at: float
    body: bytes


class _Page(msgspec.Struct):
    events: list[msgspec.Raw]
    places: list[str]
    at: list[float]
    last_seq: int
    next: str | None = None


_PAGE = msgspec.json.Decoder(_Page)


def read_speed(speed: float) -> float:
    """A speed that may be had. Raises `Rejected("invalid")`."""
    if not (math.isfinite(speed) and 0 <= speed <= MAX_SPEED):
        raise invalid(
            f"`speed` is from 0 (as fast as can be read) to {MAX_SPEED:g} times the recorded one", speed=speed
        )
    return float(speed)


def read_start(start: int | str | None) -> dict[str, Any]:
    """Where to begin, as `replay_page` is asked for it: an event's `session_seq`, or a moment (RFC 3339, with offset).

    Raises `Rejected("invalid")` for anything else.
    """
    if start is None:
        return {}
    if isinstance(start, int) or start.isdecimal():
        if 0 <= int(start) < 2**63:
            return {"from_seq": int(start)}
    else:
        # A plus sign that was not written as %2B comes as a space.
        moment = start.replace(" ", "+")
        with contextlib.suppress(ValueError):
            if datetime.fromisoformat(moment).tzinfo is not None:
                return {"since": moment}
    raise invalid("a place is an event's `session_seq`, or a moment such as 2026-01-31T12:00:00Z", place=start)


class Replay:
    """One replay. It ends at the last event that was recorded when it began, so that each run gives the same.

    An event is due when as much time has gone by since the first as had then, divided by the speed; what was late does
    not make the next one late. Never more than two pages of events are held.
    """

    def __init__(
        self,
        read: ReadPage,
        session_id: str,
        *,
        speed: float = 1.0,
        start: int | str | None = None,
        after: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`start` as `read_start` takes it; `after`: the place of the last event that was had. Raises `Rejected`."""
        self._read = read
        self._session_id = session_id
        self._speed = read_speed(speed)
        self._from = {"after": after} if after is not None else read_start(start)
        self._clock = clock or asyncio.get_running_loop().time
        self._events: deque[Recorded] = deque()
        self._reading: asyncio.Task[_Page] | None = None
        self._next: str | None = None
        self._until: int | None = None
        # When an event of this recorded time is due by the clock; None until the next event sets it.
        self._anchor: tuple[float, float] | None = None
        # When the last event that was given happened.
        self._given = 0.0
        self._paused_at: float | None = None
        self._changed = asyncio.Event()
        # Whether there is nothing more to give, and whether that is because it was stopped.
        self.ended = self.stopped = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of what was read, nor of what there is to read."""
        return not self._events and self._next is None

    @property
    def last_seq(self) -> int:
        """The number of the last event it will give."""
        return self._until or 0

    async def begin(self) -> None:
        """Read the first page. Raises as commands do, `not_found` for a session that does not exist."""
        page = _PAGE.decode(await self._read({"session_id": self._session_id, "limit": PAGE, **self._from}))
        if self._until is None:
            self._until = page.last_seq
        self._take(page)

    async def next(self, patience: float = math.inf) -> Recorded | None:
        """The next event once it is due; None after `patience` seconds without one, and (`ended`) behind the last.

        Raises as commands do when the next page can't be read; it may be called again then.
        """
        loop_end = self._clock() + patience
        while not self.ended:
            if not self._events:
                if self._next is None:
                    self.ended = True
                    break
                await self._turn_page()
                continue
            if self._next is not None and self._reading is None:
                self._reading = asyncio.ensure_future(self._read_page())
            now = self._clock()
            due = self._due(now)
            if due <= now:
                event = self._events.popleft()
                self._given = event.at
                return event
            if now >= loop_end:
                return None
            await self._wait(min(due, loop_end) - now)
        return None

    def pause(self) -> None:
        """Give nothing until it is resumed."""
        if self._paused_at is None:
            self._paused_at = self._clock()
            self._changed.set()

    def resume(self) -> None:
        """Go on where it paused."""
        if self._paused_at is not None:
            if self._anchor is not None:
                recorded, clock = self._anchor
                self._anchor = recorded, clock + self._clock() - self._paused_at
            self._paused_at = None
            self._changed.set()

    def set_speed(self, speed: float) -> None:
        """Go on at another speed from this moment of the recording on. Raises `Rejected("invalid")`."""
        speed = read_speed(speed)
        if self._anchor is not None:
            now = self._clock() if self._paused_at is None else self._paused_at
            recorded, clock = self._anchor
            reached = recorded + (now - clock) * self._speed if self._speed else math.inf
            # It is nowhere beyond its next event, whoever keeps that waiting; the one after the last may be unread.
            self._anchor = min(reached, self._events[0].at if self._events else self._given), now
        self._speed = speed
        self._changed.set()

    async def seek(self, start: int | str) -> None:
        """Go on from another place, at once. Raises as `begin`, and is where it was then."""
        asked = read_start(start)
        page = _PAGE.decode(
            await self._read({"session_id": self._session_id, "limit": PAGE, "until_seq": self._until, **asked})
        )
        if self.stopped:
            return
        self._forget()
        self._take(page)
        self.ended = False
        self._anchor = None
        if self._paused_at is not None:
            self._paused_at = self._clock()
        self._changed.set()

    def stop(self) -> None:
        """End it where it is."""
        self.stopped = self.stopped or not self.ended
        self.ended = True
        self._forget()
        self._changed.set()

    def _due(self, now: float) -> float:
        if self._paused_at is not None:
            return math.inf
        event = self._events[0]
        if self._anchor is None:
            self._anchor = event.at, now
        if self._speed == 0:
            return now
        recorded, clock = self._anchor
        return clock + (event.at - recorded) / self._speed

    async def _wait(self, seconds: float) -> None:
        """Until so many seconds have passed, or something was changed."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds if math.isfinite(seconds) else None):
                await self._changed.wait()

    async def _turn_page(self) -> None:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read_page())
        reading = self._reading
        try:
            page = await asyncio.shield(reading)
        except asyncio.CancelledError:
            if reading.cancelled() and self._reading is not reading:
                return  # it was sought elsewhere meanwhile
            raise
        finally:
            if self._reading is reading and reading.done():
                self._reading = None
        if not reading.cancelled() and self._next is not None and not self._events:
            self._take(page)

    async def _read_page(self) -> _Page:
        asked = {"session_id": self._session_id, "limit": PAGE, "until_seq": self._until, "cursor": self._next}
        return _PAGE.decode(await self._read(asked))

    def _take(self, page: _Page) -> None:
        self._events.extend(
            Recorded(place, at, bytes(body)) for place, at, body in zip(page.places, page.at, page.events, strict=True)
        )
        self._next = page.next

    def _forget(self) -> None:
        self._events.clear()
        self._next = None
        if self._reading is not None:
            self._reading.add_done_callback(lambda read: read.cancelled() or read.exception())
            self._reading.cancel()
            self._reading = None
