"""Bringing a connection up to date: runs its replay to the end, fetching what the ring no longer holds."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from services.ws_gateway.fanout.contexts import Contexts
from services.ws_gateway.fanout.hub import SLOW_CONSUMER, Connection, Hub
from services.ws_gateway.fanout.interest import EVERYTHING, Interest
from services.ws_gateway.history.pages import LATER_OVERLAP, OVERLAP, Pages
from services.ws_gateway.history.replay import Claim, Gap, Page, Replay, State, lasting_interest
from services.ws_gateway.metrics import Metrics
from shared.errors import BusError, Rejected
from shared.logs import get_logger

# Replays that read from outside the ring at the same time: each holds a page in memory.
DEEP_REPLAYS = 32
# Another replica may be a moment ahead of this one, and more when this one has just found the broker again.
FUTURE_SECONDS, BEHIND_SECONDS = 2.0, 10.0
# A connection that keeps a place among those and takes nothing for so long is closed.
STALLED_SECONDS = 30.0
TRY_AGAIN_LATER = 1013

# Makes the answer to what was asked for: whether everything is given, and after which cursor it begins.
Answer = Callable[[bool, int], bytes]
Fail = Callable[[Rejected], bytes]

log = get_logger()


class Library:
    """What all replays share: where pages come from, and how many may be read at once."""

    def __init__(self, hub: Hub, pages: Pages, metrics: Metrics) -> None:
        self.hub = hub
        self.pages = pages
        self.contexts = Contexts(hub, pages.query)
        self.metrics = metrics
        self.deep = asyncio.Semaphore(DEEP_REPLAYS)

    def reader(
        self, connection: Connection, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    ) -> "Reader":
        """A reader for one connection."""
        return Reader(self, connection, spawn)


class Reader:
    """What one connection asked for, and the replay that brings it there."""

    def __init__(
        self, library: Library, connection: Connection, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    ) -> None:
        self._library = library
        self._hub = library.hub
        self._connection = connection
        self._spawn = spawn
        self._replay: Replay | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked: list[tuple[Answer, Fail]] = []
        # How its topics are wanted, even while there are none.
        self.taste = EVERYTHING
        self._before: tuple[list[Claim], Interest] = [], EVERYTHING
        self._room = asyncio.Event()
        connection.on_writable = self._room.set

    def claims(self) -> list[Claim]:
        """What is being given or still to be given."""
        if self._replay is not None:
            return self._replay.open_claims()
        group = self._connection.group
        return [] if group is None else [Claim(group.interest, self._hub.cursor)]

    def topics(self) -> frozenset[str]:
        """The topics in force."""
        return lasting_interest(self.claims()).topics

    def ask(self, claims: list[Claim], taste: Interest, answer: Answer, fail: Fail) -> None:
        """Put these claims and this taste in force, and answer once it is known whether the claims can be met."""
        if not self._asked:
            self._before = self.claims(), self.taste
        self._asked.append((answer, fail))
        self.taste = taste
        self._start(claims)

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._replay = None

    def _start(self, claims: list[Claim]) -> None:
        self.stop()
        if self._connection.pacer is not None:
            self._connection.pacer.hold_nothing()
        self._hub.detach(self._connection)
        replay = self._replay = Replay(self._hub, self._connection, _merged(claims))
        latest = max((claim.after for claim in claims), default=self._hub.cursor)
        is_own = any(claim.interest.is_own for claim in claims)
        self._hub.follow(self._connection, follows=is_own)
        is_known = not is_own or self._hub.relevance.knows(self._connection.agent_id)
        if is_known and self._hub.ring.covers(replay.position) and latest <= self._hub.cursor:
            self._settle(recovered=True, position=replay.position)
            if self._step(replay) is State.LIVE:
                return
            self._task = self._spawn(self._catch_up(replay))
        else:
            self._task = self._spawn(self._look_up(replay, latest))

    def _settle(self, *, recovered: bool, position: int) -> None:
        asked, self._asked = self._asked, []
        for answer, _ in asked:
            self._connection.write(answer(recovered, position))

    def _step(self, replay: Replay) -> State:
        self._room.clear()
        state = replay.step()
        if state is State.LIVE:
            self._replay = None
            for source in ("table", "stream", "ring"):
                if source in replay.sources:
                    self._library.metrics.resumes.labels(source).inc()
                    break
        return state

    async def _look_up(self, replay: Replay, latest: int) -> None:
        """Find out whether the claims can be met, say so, and go on."""
        try:
            if self._connection.follows:
                await self._library.contexts.learn(self._connection.agent_id)
            reaches = await self._reaches(latest)
        except (Rejected, BusError, TimeoutError) as fault:
            self._give_up(fault)
            return
        missing = None
        if not reaches:
            now = self._hub.cursor
            missing = Gap(now + 1, latest, "epoch")
            claims = [replace(claim, after=min(claim.after, now)) for claim in replay.claims]
            replay = self._replay = Replay(self._hub, self._connection, claims)
        async with AsyncExitStack() as slot:
            page = None
            if not self._hub.ring.covers(replay.position):
                await slot.enter_async_context(self._library.deep)
                try:
                    page = await self._page(replay)
                except (Rejected, BusError, TimeoutError) as fault:
                    self._give_up(fault)
                    return
            former = self._library.pages.is_former(replay.position)
            whole = missing is None and (page is None or page.missing is None) and not former
            self._settle(recovered=whole, position=missing.first - 1 if missing else replay.position)
            if missing:
                replay.tell(missing)
            if page:
                replay.feed(page)
            await self._run(replay, slot)

    async def _reaches(self, cursor: int) -> bool:
        """Whether the log goes as far as a cursor. Raises `BusError` or TimeoutError when that can't be seen now."""
        if await self._seen(cursor, FUTURE_SECONDS):
            return True
        if await self._library.pages.newest() < cursor:
            return False
        if await self._seen(cursor, BEHIND_SECONDS):
            return True
        raise TimeoutError(f"events up to {cursor} are in the log, but have not come here yet")

    async def _seen(self, cursor: int, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while self._hub.cursor < cursor:  # noqa: ASYNC110 (the hub knows no event loop)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    def _give_up(self, fault: Exception) -> None:
        """The log can't be read now: what was in force before stays so."""
        rejected = (
            fault
            if isinstance(fault, Rejected)
            else Rejected("unavailable", "the event log can't be read now; ask again")
        )
        log.warning("resume_failed", reason=str(fault) or type(fault).__name__)
        asked, self._asked = self._asked, []
        if not asked:
            self._connection.close(TRY_AGAIN_LATER, "the event log can't be read now; resume from cursor")
            return
        for _, fail in asked:
            self._connection.write(fail(rejected))
        self._task = None
        claims, self.taste = self._before
        self._start(claims)

    async def _catch_up(self, replay: Replay) -> None:
        async with AsyncExitStack() as slot:
            await self._run(replay, slot)

    async def _run(self, replay: Replay, slot: AsyncExitStack) -> None:
        try:
            while (state := self._step(replay)) is not State.LIVE:
                if state is State.TURN:
                    await asyncio.sleep(0)
                elif state is State.FULL:
                    async with asyncio.timeout(STALLED_SECONDS if replay.is_deep else None):
                        await self._room.wait()
                else:
                    if not replay.is_deep:
                        await slot.enter_async_context(self._library.deep)
                    replay.feed(await self._page(replay))
        except TimeoutError:
            if self._connection.paused:
                self._connection.close(SLOW_CONSUMER, "too slow; resume from cursor")
            else:
                self._connection.close(TRY_AGAIN_LATER, "the event log can't be read now; resume from cursor")
        except (Rejected, BusError) as fault:
            log.warning("resume_failed", reason=str(fault))
            self._connection.close(TRY_AGAIN_LATER, "the event log can't be read now; resume from cursor")

    async def _page(self, replay: Replay) -> Page:
        overlap = LATER_OVERLAP if "stream" in replay.sources else OVERLAP
        page, source = await self._library.pages.after(replay.position, *replay.wanted_topics(), overlap=overlap)
        replay.sources.add(source)
        return page


def _merged(claims: list[Claim]) -> list[Claim]:
    """Claims that begin and end together as one."""
    if len(claims) < 2:
        return claims
    together: dict[tuple[int, int | None, Interest], list[frozenset[str]]] = {}
    for claim in claims:
        taste = claim.interest.of(frozenset())
        together.setdefault((claim.after, claim.until, taste), []).append(claim.interest.topics)
    return [
        Claim(taste.of(frozenset().union(*topics)), after, until) for (after, until, taste), topics in together.items()
    ]
