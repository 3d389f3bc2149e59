"""A lane: the turns of one room and bot, one after the other, as long as its partition is ours."""

import asyncio
from collections.abc import Callable

from services.claude_worker.answering.attempt import AWAY_SECONDS, Answering, Outcome, Workshop, names_of
from services.claude_worker.answering.orders import order
from services.claude_worker.handlers.attempts import Ended, finish_turn, start_turn
from services.claude_worker.handlers.starting import Started
from services.claude_worker.metrics import count_attempt, counting
from services.claude_worker.pool.pool import Key
from services.claude_worker.store.registry import Fenced, Ownership
from services.claude_worker.turns import Held
from shared.bus.replies import Handler
from shared.database import is_transient
from shared.logs import get_logger
from shared.messages import Command, new_id
from shared.messages.chat import FinishTurn, StartTurn

MAX_STUCK = 3
log = get_logger()


class Lane:
    """Answers what is said to a bot in a room, in its order."""

    def __init__(self, shop: Workshop, ownership: Ownership, key: Key, on_fenced: Callable[[], None]) -> None:
        self._shop = shop
        self._ownership = ownership
        self._key = key
        self._bot = shop.bots.get(key.bot_id)
        self._on_fenced = on_fenced
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._stopping = False
        # What is under way is to end at once.
        self._is_handed_over = False
        # What has begun, before and while it is answered.
        self._begun: Started | None = None
        self._answering: Answering | None = None
        # How often it has run into a bug since something went well.
        self._stuck = 0

    @property
    def is_working(self) -> bool:
        """Whether something is under way."""
        return self._task is not None and not self._task.done()

    def poke(self, begun: Started | None = None) -> None:
        """There may be something to do, or something that matters to what is being done; `begun` is to be done."""
        self._again = True
        if begun is not None:
            self._begun = begun
        if self._answering is not None:
            self._answering.hear()
        if not self.is_working and (self._begun is not None or not self._stopping):
            self._task = asyncio.create_task(self._work())

    def begin_anew(self) -> None:
        """The conversation was reset: what is being answered was dropped, and its client knows too much."""
        if not self._shop.pool.interrupt(self._key):
            self._task = asyncio.create_task(self._begin_anew(self._task))

    async def finish(self, grace: float) -> None:
        """Begin nothing more; wait so many seconds for what is under way, then give it back to whoever is next."""
        self._stopping = True
        if self._task is None or self._task.done():
            return
        _, late = await asyncio.wait([self._task], timeout=grace)
        if late:
            self._is_handed_over = True
            if self._answering is not None:
                self._answering.hand_over()
            await asyncio.wait([self._task])

    def abandon(self) -> None:
        """The partition is another's: stop at once, and write nothing."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()

    async def _begin_anew(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            try:
                await asyncio.wait([before])
            except asyncio.CancelledError:
                before.cancel()
                raise
        await self._shop.pool.discard(self._key, "reset")
        await self._work()

    async def _work(self) -> None:
        while (self._again or self._begun is not None) and not (self._stopping and self._begun is None):
            self._again = False
            try:
                self._again = await self._next() or self._again
            except Fenced as fenced:
                log.warning("partition_lost", partition=self._ownership.partition, reason=str(fenced))
                self._on_fenced()
                return
            except Exception as error:
                if is_transient(error):
                    log.warning("database_away", reason=str(error).split("\n")[0])
                else:
                    # A bug. After some attempts the turn stays open until somebody says something more.
                    self._stuck += 1
                    log.exception("turn_stuck", room_id=self._key.room_id, bot_id=self._key.bot_id, times=self._stuck)
                await self._shop.pool.discard(self._key, "stuck")
                await asyncio.sleep(AWAY_SECONDS)
                self._again = self._stuck <= MAX_STUCK or self._again
            else:
                self._stuck = 0

    async def _next(self) -> bool:
        """Answer the first turn that is open, if there is one; whether there is more to do."""
        if self._begun is None:
            # What has begun with its message meanwhile is among what this finds.
            self._begun = await self._start() or self._begun
        started, self._begun = self._begun, None
        if started is None:
            return False
        # Poked since it began: that may matter to it.
        started.more = started.more or self._again
        self._answering = Answering(self._shop, self._ownership, started)
        if self._is_handed_over:
            self._answering.hand_over()
        try:
            outcome = await self._answering.run()
        finally:
            self._answering = None
        ended = await self._finish(outcome, started.held)
        await self._part_with_client(outcome, ended)
        count_attempt(outcome.end)
        _tell(outcome.end, started.held)
        self._begun = ended.next or self._begun
        return ended.more

    async def _start(self) -> Started | None:
        into: list[Started] = []
        room = {"room_id": self._key.room_id, "bot_id": self._key.bot_id}
        # Under a new id each time: one that was begun by a commit of unknown outcome is ours to begin again.
        command = order("start_turn", new_id(), StartTurn(**room))
        await self._shop.local.run(command, counting(start_turn(self._ownership, self._bot, into)))
        return into[0] if into else None

    async def _finish(self, outcome: Outcome, held: Held) -> Ended:
        into: list[Ended] = []
        # Kept until it is committed, and nobody's to guess: whoever uses an id first has it.
        command = order("finish_turn", new_id(), outcome.end, held)
        finish = finish_turn(
            self._ownership,
            self._bot,
            outcome.entries,
            into,
            goes_on=not self._stopping,
            parked=outcome.parked,
        )
        await self._run_surely(command, counting(finish))
        # Committed by a run of unknown outcome before, of which nothing is known here.
        return into[0] if into else Ended(None, more=True)

    async def _part_with_client(self, outcome: Outcome, ended: Ended) -> None:
        client = self._shop.pool.client_of(self._key)
        owed = client.owed if client is not None else ()
        following = ended.next.held.turn.turn_id if ended.next else None
        if ended.held is None or not outcome.client_knows_no_more or (owed and owed[0] != following):
            # It remembers, or is about to answer, what the records do not know of.
            await self._shop.pool.discard(self._key, outcome.end.reason or "dropped")
            return
        if outcome.end.status == "answered":
            self._shop.pool.answers[outcome.end.path or "?"] += 1
        if not owed:
            self._shop.pool.give_back(self._key)

    async def _run_surely(self, command: Command, handler: Handler) -> None:
        while True:
            try:
                await self._shop.local.run(command, handler)
                return
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("database_away", reason=str(error).split("\n")[0])
                await asyncio.sleep(AWAY_SECONDS)


def _tell(end: FinishTurn, held: Held) -> None:
    log.info(
        "turn_ended",
        **names_of(held),
        status=end.status,
        path=end.path,
        reason=end.reason,
        merged=len(end.merged),
        waited_ms=held.turn.waited_ms,
        connect_ms=end.connect_ms,
        answer_ms=end.answer_ms,
        input_tokens=end.spent.input_tokens,
        output_tokens=end.spent.output_tokens,
    )
