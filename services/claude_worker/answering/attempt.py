"""One attempt under way: it has a client, asks, and obeys what comes meanwhile: newer messages, and the kill switch."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.claude_worker import budgets
from services.claude_worker.answering.deltas import Deltas
from services.claude_worker.answering.orders import order
from services.claude_worker.bots import Bot
from services.claude_worker.failures import INTERRUPTED, SWITCHED_OFF, AttemptFailed, Failure
from services.claude_worker.handlers.attempts import Entries
from services.claude_worker.handlers.busy import tell_busy
from services.claude_worker.handlers.parking import Parked
from services.claude_worker.handlers.starting import Started
from services.claude_worker.metrics import counting
from services.claude_worker.pool.pool import Key, Pool
from services.claude_worker.posting.growing import both
from services.claude_worker.posting.poster import Poster
from services.claude_worker.store import turns, usage
from services.claude_worker.store.registry import Fenced, Ownership
from services.claude_worker.tools.errand import Errand
from services.claude_worker.turns import MAX_FAILURES, Held, Waiting, may_join, prompt_of
from shared.bus.local import LocalCommands
from shared.bus.publisher import Publisher
from shared.database import Database, Transaction, is_transient
from shared.logs import get_logger
from shared.messages import new_id
from shared.messages.chat import FinishTurn, RunTurns

# How long a message waits before its room is told why.
BUSY_SECONDS = 3.0
# The client names no more than 64 prompts that one answer was for.
MAX_HANDED_IN = 32
AWAY_SECONDS = 1.0
# Until what was said while the client connects is tried to be handed in again.
EARLY_SECONDS = 0.3
log = get_logger()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every lane works with."""

    bots: Mapping[str, Bot]
    pool: Pool
    local: LocalCommands
    database: Database
    publisher: Publisher
    # Why nothing can be answered at all.
    obstacle: Failure | None
    poster: Poster


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt has ended.

    `entries` are what is to be remembered of it; `client_knows_no_more`: its client remembers nothing else.
    `parked`: what it waits for.
    """

    end: FinishTurn
    entries: Entries = field(default_factory=list)
    client_knows_no_more: bool = False
    parked: Parked | None = None


class Answering:
    """An attempt, from having a client to its end."""

    def __init__(self, shop: Workshop, ownership: Ownership, started: Started) -> None:
        self._shop = shop
        self._ownership = ownership
        self._started = started
        self._held = started.held
        turn = started.held.turn
        self._key = Key(turn.room_id, turn.bot_id)
        self._bot = shop.bots.get(turn.bot_id)
        # Why it is to end before it is whole, if nobody's fault.
        self._cause: Failure | None = None
        self._is_handed_over = False
        self._handed_in: set[str] = set()
        self._is_over = False
        self._heard = False
        self._looking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> Outcome:
        """Answer, or fail to; nothing is looked at any more when this returns."""
        if self._started.more:
            self.hear()
        try:
            return await self._run()
        finally:
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            if self._looking is not None:
                await asyncio.wait([self._looking])

    def hear(self) -> None:
        """Something has come that may matter to it."""
        self._heard = True
        if not self._is_over and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_on())

    def hand_over(self) -> None:
        """End, to be begun anew by whoever has the partition next."""
        self._is_handed_over = True
        self._stop(INTERRUPTED)

    async def _run(self) -> Outcome:
        held, bot = self._held, self._bot
        end = FinishTurn(
            room_id=self._key.room_id,
            bot_id=self._key.bot_id,
            turn_id=held.turn.turn_id,
            attempt=held.turn.attempt,
            status="failed",
        )
        if bot is None:
            told = "I am not declared here any more."
            return Outcome(end.model_copy(update={"answer": told, "reason": "unknown_bot"}))
        if (obstacle := self._shop.obstacle) is not None:
            return Outcome(end.model_copy(update={"answer": obstacle.told, "reason": obstacle.reason}))
        began = time.monotonic()
        deltas = Deltas(self._shop.publisher, held) if bot.stream else None
        growing = self._shop.poster.grow(self._ownership, held) if bot.edit_while_streaming else None
        hear = both(deltas.add if deltas else None, growing.add if growing else None)
        session, goes_on = self._started.claude_session, self._started.goes_on
        errand = Errand(held, *(goes_on or ()))
        client = None
        try:
            self._may_go_on()
            client = await self._shop.pool.lend(self._key, session, self._started.chat.idle_minutes)
            session, connected, tier = client.claude_session, time.monotonic(), client.tier
            self._may_go_on()
            client.tools.begin(errand)
            said = None if goes_on else prompt_of(held.turn, bot)
            answer = await client.ask(held.turn.turn_id, said, hear, deadline=bot.deadline_s)
        except AttemptFailed as failed:
            return self._after_failure(end, failed, session)
        finally:
            if client is not None:
                client.tools.end()
            if deltas is not None:
                deltas.close()
            if growing is not None:
                growing.close()
        asks = answer.deferred
        done = {
            "status": "parked" if asks else "answered",
            "answer": answer.text,
            "path": tier,
            "claude_session": session,
            "merged": list(answer.merged),
            "spent": answer.spent,
            "connect_ms": round((connected - began) * 1000, 1),
            "answer_ms": round((time.monotonic() - connected) * 1000, 1),
        }
        if asks is not None:
            # Its client is closed: whoever goes on, and when, begins from the records.
            parked = Parked(bot, errand.asked(asks.id, asks.name, asks.input))
            return Outcome(end.model_copy(update=done), answer.entries, parked=parked)
        return Outcome(end.model_copy(update=done), answer.entries, client_knows_no_more=True)

    def _after_failure(self, end: FinishTurn, failed: AttemptFailed, session: str | None) -> Outcome:
        log.warning(
            "attempt_failed",
            **names_of(self._held),
            reason=failed.failure.reason,
            detail=str(failed)[:500],
            handing_over=self._is_handed_over,
        )
        told = {"reason": failed.failure.reason, "spent": failed.spent}
        if self._cause is not None and not self._is_handed_over:
            # What it has said so far was not heard by anybody, but it shall know what it was asked.
            kept = failed.entries or []
            told |= {"reason": self._cause.reason, "status": "dropped", "claude_session": session if kept else None}
            return Outcome(end.model_copy(update=told), kept, client_knows_no_more=failed.entries is not None)
        if self._is_handed_over or failed.failure is INTERRUPTED:
            return Outcome(end.model_copy(update={**told, "status": "queued"}))
        if self._held.failures + 1 < MAX_FAILURES:
            return Outcome(end.model_copy(update={**told, "status": "queued", "failed": True}))
        return Outcome(end.model_copy(update={**told, "status": "failed", "answer": failed.failure.told}))

    def _may_go_on(self) -> None:
        if self._cause is not None:
            # A client that goes on with a parked turn has begun by itself.
            raise AttemptFailed(self._cause, "before it was asked", entries=None if self._started.goes_on else [])

    def _stop(self, cause: Failure) -> None:
        if self._cause is None:
            self._cause = cause
            self._shop.pool.interrupt(self._key)

    async def _look_on(self) -> None:
        while self._heard and not self._is_over:
            self._heard = False
            try:
                await self._look()
            except Fenced:
                # Whoever finishes it finds out.
                return
            except Exception as error:
                if not is_transient(error):
                    log.exception("newcomers_not_seen", **names_of(self._held))
                self._look_again(AWAY_SECONDS)

    async def _look(self) -> None:
        bot, room = self._bot, (self._ownership.partition, *self._key)
        async with self._shop.database.reading() as tx:
            seen = await turns.find_open(tx, *room)
            may_join_in = bot is not None and bot.busy == "steer" and not await self._is_used_up(tx, bot)
        if self._is_over or bot is None:
            return
        if all(each.held.turn.turn_id != self._held.turn.turn_id for each in seen):
            # Dropped by somebody who could not tell us: a reset that another worker has committed.
            self._stop(INTERRUPTED)
            return
        # What it was asked together with, before it was parked, does not wait for another answer.
        newer = [each for each in seen if each.held.turn.number > self._held.turn.number]
        waiting = [each for each in newer if each.held.turn.merged_into is None]
        if seen[0].is_off:
            self._stop(SWITCHED_OFF)
        elif waiting and bot.busy == "interrupt":
            self._stop(INTERRUPTED)
        elif waiting:
            is_early = may_join_in and not await self._hand_in(waiting, bot)
            await self._tell(waiting)
            if is_early:
                self._look_again(EARLY_SECONDS)

    async def _is_used_up(self, tx: Transaction, bot: Bot) -> bool:
        if not budgets.is_limited(bot.budget):
            return False
        day = await usage.find_day(tx, *self._key, every_room=budgets.is_limited(bot.budget, room=False))
        return budgets.used_up(bot.budget, day.bot, day.room) is not None

    async def _hand_in(self, waiting: list[Waiting], bot: Bot) -> bool:
        """Say to the client, in their order, what has come; what it does not take waits for its own turn.

        False when it was too early: the client is not there yet, or was not asked yet.
        """
        client = self._shop.pool.client_of(self._key)
        if client is None or not client.is_answering:
            return False
        for each in waiting:
            turn = each.held.turn
            if turn.turn_id in self._handed_in:
                continue
            if self._is_over or len(self._handed_in) >= MAX_HANDED_IN:
                break
            if not may_join(self._held, each.held) or not await client.hand_in(turn.turn_id, prompt_of(turn, bot)):
                break
            self._handed_in.add(turn.turn_id)
        return True

    async def _tell(self, waiting: list[Waiting]) -> None:
        """Tell the room that it waits, once it has for long enough."""
        if any(each.is_told for each in waiting):
            return
        left = BUSY_SECONDS - max(each.waited_s for each in waiting)
        if left > 0:
            self._look_again(left)
            return
        command = order("run_turns", new_id(), RunTurns(room_id=self._key.room_id, bot_id=self._key.bot_id))
        await self._shop.local.run(command, counting(tell_busy(self._ownership)))

    def _look_again(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_over:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.hear)


def names_of(held: Held) -> dict[str, str | int]:
    """What a log line says of a turn."""
    turn = held.turn
    return {"turn_id": turn.turn_id, "room_id": turn.room_id, "bot_id": turn.bot_id, "attempt": turn.attempt}
