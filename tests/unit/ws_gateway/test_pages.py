"""Pages of the log from outside the ring."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.history.pages import LATER_OVERLAP, OVERLAP, PAGE_BYTES, STREAM_PAGE, Pages
from services.ws_gateway.history.replay import Gap, Page
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.stream.intake import Epoch, Intake
from services.ws_gateway.stream.ring import Ring
from shared.bus.tail import StreamEvent
from shared.errors import Unavailable

pytestmark = pytest.mark.anyio


class Log:
    """A stream that holds offsets from `oldest` on, and a table with the cursors in `recorded`."""

    def __init__(self, *, base: int, oldest: int, newest: int, recorded: range, size: int = 0) -> None:
        self.base = base
        self.offsets = range(oldest, newest + 1)
        self.recorded = recorded
        self.size = size
        self.asked: list[dict[str, Any]] = []
        self.matches: Callable[[int], bool] = lambda cursor: True
        self.hub = Hub(Ring(10, 10**6))
        self.intake = Intake(self.hub, Metrics(self.hub, CollectorRegistry()))
        self.intake.begin(Epoch("e", base), newest + 1)
        self.pages = Pages(self.hub, self.intake, self.read, self.query)

    def body(self, cursor: int) -> dict[str, Any]:
        return {"type": "test", "message_id": f"m{cursor}", "text": "x" * self.size}

    async def read(self, after: int, until: int) -> AsyncIterator[list[StreamEvent]]:
        held = [offset for offset in self.offsets if after < offset <= until]
        for at in range(0, len(held), 100):
            yield [
                StreamEvent(offset, "a.b", json.dumps(self.body(self.base + offset)).encode(), "")
                for offset in held[at : at + 100]
            ]

    async def query(self, name: str, data: dict[str, Any]) -> bytes:
        self.asked.append({"query": name, **data})
        if name == "get_event_log":
            first, last = (self.recorded[0], self.recorded[-1]) if self.recorded else (0, -1)
            return json.dumps({"epoch": "e", "base": self.base, "first": first, "last": last}).encode()
        later = [cursor for cursor in self.recorded if data["after"] < cursor <= data["until"]]
        looked_through = later[: data["limit"]]
        events = [{**self.body(cursor), "cursor": cursor} for cursor in looked_through if self.matches(cursor)]
        more = len(later) > len(looked_through)
        page = {"events": events, "routing_keys": ["a.b" for _ in events]}
        return json.dumps({**page, "next": looked_through[-1] if more else None}).encode()

    async def after(self, position: int, until: int | None = None, *, overlap: int = OVERLAP) -> tuple[Page, str]:
        return await self.pages.after(position, frozenset({"a.*"}), until, overlap=overlap)


def cursors(page: Page) -> list[int]:
    return [frame.cursor for frame in page.frames]


async def test_a_page_of_the_stream_ends_where_the_ring_begins() -> None:
    log = Log(base=100, oldest=0, newest=50, recorded=range(100, 151))
    page, source = await log.after(120)
    assert (cursors(page), page.until, source, page.missing) == (list(range(121, 151)), 150, "stream", None)
    assert list(page.overlap) == [f"m{cursor}" for cursor in range(100, 121)]
    assert log.asked == []


async def test_a_page_from_the_very_start_of_the_stream_is_whole() -> None:
    log = Log(base=100, oldest=0, newest=50, recorded=range(0))
    page, source = await log.after(99)
    assert (cursors(page), source) == (list(range(100, 151)), "stream")


async def test_pages_are_bounded_by_number_and_bytes() -> None:
    log = Log(base=0, oldest=0, newest=9999, recorded=range(0))
    page, _ = await log.after(99)
    assert (page.until, len(page.frames)) == (99 + STREAM_PAGE, STREAM_PAGE)
    log = Log(base=0, oldest=0, newest=9999, recorded=range(0), size=10_000)
    page, _ = await log.after(99)
    assert sum(len(frame.data) for frame in page.frames) < 2 * PAGE_BYTES
    assert page.until == page.frames[-1].cursor


async def test_a_later_page_looks_at_few_events_before_it_unless_they_leave_open_whether_some_are_gone() -> None:
    log = Log(base=0, oldest=0, newest=9999, recorded=range(0))
    page, _ = await log.after(999, overlap=LATER_OVERLAP)
    assert (page.frames[0].cursor, list(page.overlap)) == (1000, [f"m{cursor}" for cursor in range(990, 1000)])
    log.offsets = range(0, 10_000, 100)  # holes wider than that
    page, source = await log.after(950, overlap=LATER_OVERLAP)
    assert (page.frames[0].cursor, source, page.missing) == (1000, "stream", None)


async def test_what_has_gone_from_the_stream_comes_from_the_table() -> None:
    log = Log(base=100, oldest=900, newest=999, recorded=range(100, 1100))
    page, source = await log.after(200)
    assert (cursors(page)[0], source, page.missing) == (201, "table", None)
    assert page.until == cursors(page)[-1] == 700
    page, source = await log.after(page.until)
    assert (cursors(page)[-1], page.until) == (999, 999)
    page, source = await log.after(page.until)
    assert (cursors(page)[0], source) == (1000, "stream")


async def test_the_table_is_asked_for_the_topics_wanted_and_no_further_than_they_are() -> None:
    log = Log(base=0, oldest=900, newest=999, recorded=range(1000))
    page, _ = await log.after(100, until=150)
    assert log.asked[-1] == {"query": "list_events", "after": 100, "until": 150, "topics": ["a.*"], "limit": 500}
    assert page.until == 150


async def test_what_nobody_keeps_any_more_is_told() -> None:
    log = Log(base=0, oldest=900, newest=999, recorded=range(300, 1000))
    page, _ = await log.after(100)
    assert page.missing == Gap(101, 299, "retention")
    assert cursors(page)[0] == 300
    log = Log(base=0, oldest=900, newest=999, recorded=range(0))
    page, _ = await log.after(100)
    assert (page.missing, page.frames, page.until) == (Gap(101, 899, "retention"), [], 899)


async def test_a_page_of_the_table_may_match_nothing_and_still_not_be_the_last() -> None:
    log = Log(base=0, oldest=900, newest=999, recorded=range(1000))
    log.matches = lambda cursor: cursor == 850
    page, _ = await log.after(100)
    assert (cursors(page), page.until) == ([], 600)
    page, _ = await log.after(page.until)
    assert (cursors(page), page.until) == ([850], 899)


async def test_what_went_from_the_stream_before_it_was_recorded_is_told() -> None:
    log = Log(base=0, oldest=900, newest=999, recorded=range(800))
    page, _ = await log.after(790)
    assert (cursors(page), page.until, page.missing) == (list(range(791, 800)), 799, None)
    page, _ = await log.after(page.until)
    assert (cursors(page), page.until, page.missing) == ([], 899, Gap(800, 899, "retention"))


async def test_events_of_a_stream_that_is_no_more_come_from_the_table_and_its_end_is_told() -> None:
    log = Log(base=1000, oldest=0, newest=50, recorded=range(801))
    assert log.pages.is_former(700)
    page, source = await log.after(700)
    assert (cursors(page), page.until, page.missing, source) == (list(range(701, 801)), 800, None, "table")
    page, source = await log.after(800)
    assert (page.frames, page.until, page.missing) == ([], 999, Gap(801, 999, "epoch"))
    assert not log.pages.is_former(999)


@pytest.mark.parametrize("before", [True, False], ids=["before it is read", "while it is read"])
async def test_a_stream_made_anew_is_not_taken_for_the_one_that_was_asked_for(before: bool) -> None:
    log = Log(base=100, oldest=0, newest=50, recorded=range(100, 151))
    reads: list[int] = []

    async def make_anew() -> None:
        if log.intake.epoch.name == "e" and len(reads) == (not before):
            log.base, log.offsets = 1000, range(3)
            log.intake.begin(Epoch("e2", 1000), 3)

    async def read(after: int, until: int) -> AsyncIterator[list[StreamEvent]]:
        reads.append(after)
        if not before:
            await make_anew()
            if after == -1:
                raise TimeoutError
        async for events in log.read(after, until):
            yield events

    log.pages = Pages(log.hub, log.intake, read, log.query, wait_followed=make_anew)
    page, source = await log.after(120)
    assert (cursors(page), source) == (list(range(121, 151)), "table")


async def test_a_page_of_a_stream_that_is_not_followed_after_all_is_not_given() -> None:
    log = Log(base=100, oldest=0, newest=50, recorded=range(100, 151))
    waits = iter([None, Unavailable("the event stream is away")])

    async def wait_followed() -> None:
        if fault := next(waits):
            raise fault

    log.pages = Pages(log.hub, log.intake, log.read, log.query, wait_followed=wait_followed)
    with pytest.raises(Unavailable):
        await log.after(120)
