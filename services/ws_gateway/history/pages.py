"""Older events than the ring holds: from the stream, and what has gone from the stream from the events table."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec

from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.history.replay import Gap, Page
from services.ws_gateway.stream.frames import Frame, event_frame, recorded_frame
from services.ws_gateway.stream.intake import Intake
from shared.bus.tail import StreamEvent
from shared.errors import BusError

STREAM_PAGE = 2_000
TABLE_PAGE = 500
PAGE_BYTES = 1024 * 1024
# How far before a replay's first page copies of its events are looked for. Later on the replay knows what it has given,
# so it takes a few to see that none is gone between two pages: of large events, 500 are many times a page.
OVERLAP, LATER_OVERLAP = 500, 10

# The events of the stream with offsets in (after, until].
ReadStream = Callable[[int, int], AsyncIterator[list[StreamEvent]]]
# The stream's newest offset.
ReadNewest = Callable[[], Awaitable[int]]
# Returns while the stream is followed, so that the intake's epoch is its own. Raises `BusError` or TimeoutError.
WaitFollowed = Callable[[], Awaitable[None]]
# Asks the session worker; returns the text of the result.
Query = Callable[[str, dict[str, Any]], Awaitable[bytes]]


async def _at_once() -> None:
    """Where the stream is always followed."""


class _EventLog(msgspec.Struct):
    epoch: str
    base: int
    first: int
    last: int


class _Recorded(msgspec.Struct):
    events: list[msgspec.Raw]
    routing_keys: list[str]
    # Where the next page begins; None at the end.
    next: int | None = None


class Pages:
    """Reads the log piece by piece; every event of it comes in one of the pages, or a gap says that it does not."""

    def __init__(
        self,
        hub: Hub,
        intake: Intake,
        read_stream: ReadStream,
        query: Query,
        read_newest: ReadNewest | None = None,
        wait_followed: WaitFollowed = _at_once,
    ) -> None:
        """Without `read_newest` there is nothing in the stream but what the hub has seen."""
        self._hub = hub
        self._intake = intake
        self._read_stream = read_stream
        self._read_newest = read_newest
        self._wait_followed = wait_followed
        self._looking: asyncio.Future[int] | None = None
        self.query = query

    def is_former(self, position: int) -> bool:
        """Whether events right after a cursor belong to a stream that is no more."""
        return position + 1 < self._intake.epoch.base

    async def newest(self) -> int:
        """The last cursor of the stream, which the hub may not have come to yet; looked up once for all who ask.

        Raises `BusError` or TimeoutError when it can't be seen now.
        """
        if self._read_newest is None:
            return self._hub.cursor
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._read_newest())
            # Whoever asked may be gone when it fails.
            self._looking.add_done_callback(lambda look: look.cancelled() or look.exception())
        return self._intake.epoch.base + await asyncio.shield(self._looking)

    async def after(
        self, position: int, topics: frozenset[str], until: int | None, *, overlap: int = OVERLAP
    ) -> tuple[Page, str]:
        """The page that begins right after a cursor, and where it came from (`stream` or `table`).

        `topics` are those wanted from there up to `until`; a page may hold others too. `overlap` is about how many
        events before it are looked at. Raises `Rejected`, `BusError` or TimeoutError when the source can't be read now.
        """
        while True:
            # The stream may be made anew at any moment. Who follows it notices, but who reads it does not.
            await self._wait_followed()
            epoch = self._intake.epoch
            try:
                found = await self._after(position, topics, until, overlap)
                await self._wait_followed()
            except (BusError, TimeoutError):
                if self._intake.epoch == epoch:
                    raise
            else:
                if self._intake.epoch == epoch:
                    return found

    async def _after(self, position: int, topics: frozenset[str], until: int | None, overlap: int) -> tuple[Page, str]:
        base = self._intake.epoch.base
        if self.is_former(position):
            return await self._of_former_epochs(position, topics, min(base - 1, until or base - 1)), "table"
        page, gone_until = await self._of_stream(position, self._hub.ring.floor, overlap)
        if page is None and overlap < OVERLAP:
            page, gone_until = await self._of_stream(position, self._hub.ring.floor, OVERLAP)
        if page is not None:
            return page, "stream"
        return await self._recorded(position, topics, min(gone_until, until or gone_until)), "table"

    async def _of_stream(self, position: int, until: int, before: int) -> tuple[Page | None, int]:
        """A page from the stream; or None, and up to which cursor the stream has lost its events."""
        base = self._intake.epoch.base
        until = min(position + STREAM_PAGE, until)
        start = max(position - base - before, -1)
        first: int | None = None
        frames: list[Frame] = []
        overlap: list[str] = []
        size = 0
        async with aclosing(self._read_stream(start, until - base)) as runs:  # type: ignore[type-var]
            async for events in runs:
                if first is None:
                    first = base + events[0].offset
                for offset, routing_key, body, _ in events:
                    frame = _made(event_frame, base + offset, routing_key, body)
                    if frame is None:
                        continue
                    if frame.cursor > position:
                        frames.append(frame)
                        size += len(frame.data)
                    elif frame.message_id:
                        overlap.append(frame.message_id)
                if size > PAGE_BYTES:
                    until = base + events[-1].offset
                    break
        # Offsets have holes, so only an event at the position or right after it proves that nothing between is gone.
        if first is not None and first <= position + 1:
            return Page(frames, until, overlap=overlap), until
        return None, until if first is None else first - 1

    async def _of_former_epochs(self, position: int, topics: frozenset[str], until: int) -> Page:
        """A page from before this stream was made; at the end of it, what was never recorded is told as a gap."""
        page = await self._recorded(position, topics, until, unrecorded="epoch")
        if page.until < until:
            return page
        if page.frames:
            return replace(page, until=page.frames[-1].cursor)
        ends = until == self._intake.epoch.base - 1
        return replace(page, missing=page.missing or (Gap(position + 1, until, "epoch") if ends else None))

    async def _recorded(self, position: int, topics: frozenset[str], until: int, unrecorded: str = "retention") -> Page:
        """A page from the table, which keeps the cursors from `first` to `last`; what it does not keep is told."""
        state = msgspec.json.decode(await self.query("get_event_log", {}), type=_EventLog)
        if state.last <= position:
            return Page([], until, missing=Gap(position + 1, until, unrecorded))
        if state.first > until:
            return Page([], until, missing=Gap(position + 1, until, "retention"))
        until = min(until, state.last)
        missing = None
        if state.first > position + 1:
            missing = Gap(position + 1, state.first - 1, "retention")
            position = state.first - 1
        asked = {"after": position, "until": until, "topics": sorted(topics), "limit": TABLE_PAGE}
        recorded = msgspec.json.decode(await self.query("list_events", asked), type=_Recorded)
        events = zip(recorded.routing_keys, recorded.events, strict=True)
        frames = [frame for key, event in events if (frame := _made(recorded_frame, key, bytes(event)))]
        return Page(frames, until if recorded.next is None else recorded.next, missing=missing)


def _made(make: Callable[..., Frame], *parts: Any) -> Frame | None:
    """A frame; None for what some program put into the log though it is no event. The live events leave it out too."""
    try:
        return make(*parts)
    except ValueError:
        return None
