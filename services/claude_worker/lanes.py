"""A lane: the turns of one room and bot, one after the other, as long as its partition is ours."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.claude_worker.bots import Bot
from services.claude_worker.deltas import Deltas
from services.claude_worker.failures import INTERRUPTED, AttemptFailed, Failure
from services.claude_worker.handlers.attempts import Ended, Entries, Started, finish_turn, start_turn
from services.claude_worker.metrics import count_attempt, counting
from services.claude_worker.pool import Key, Pool
from services.claude_worker.store.registry import Fenced, Ownership
from services.claude_worker.turns import MAX_FAILURES, Held, finish_id
from shared.bus.local import LocalCommands
from shared.bus.publisher import Publisher
from shared.bus.replies import Handler
from shared.database import is_transient
from shared.logs import get_logger
from shared.messages import Command, encode, new_id, now, spec_of
from shared.messages.chat import FinishTurn, StartTurn

AWAY_SECONDS = 1.0
MAX_STUCK = 3
log = get_logger()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every lane works with."""

    bots: Mapping[str, Bot]
    pool: Pool
    local: LocalCommands
    publisher: Publisher
    # Why nothing can be answered at all.
    obstacle: Failure | None


class Lane:
    """Answers what is said to a bot in a room, in its order."""

    def __init__(self, shop: Workshop, ownership: Ownership, key: Key, on_fenced: Callable[[], None]) -> None:
        self._shop = shop
        self._ownership = ownership
        self._key = key
        self._on_fenced = on_fenced
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._stopping = False
        # The attempt in hand is to end, and is nobody's fault.
        self._handing_over = False
        # How often it has run into a bug since something went well.
        self._stuck = 0

    @property
    def is_working(self) -> bool:
        """Whether something is under way."""
        return self._task is not None and not self._task.done()

    def poke(self) -> None:
        """There may be something to do."""
        self._again = True
        if not self.is_working and not self._stopping:
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
            self._handing_over = True
            self._shop.pool.interrupt(self._key)
            await asyncio.wait([self._task])

    def abandon(self) -> None:
        """The partition is another's: stop at once, and write nothing."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()

    async def _begin_anew(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._shop.pool.discard(self._key, "reset")
        await self._work()

    async def _work(self) -> None:
        while self._again and not self._stopping:
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
        started: list[Started] = []
        room = {"room_id": self._key.room_id, "bot_id": self._key.bot_id}
        # Under a new id each time: one that was begun by a commit of unknown outcome is ours to begin again.
        command = _command("start_turn", new_id(), StartTurn(**room))
        await self._shop.local.run(command, counting(start_turn(self._ownership, started)))
        if not started:
            return False
        attempt = started[0]
        end, entries = await self._attempt(attempt)
        ended: list[Ended] = []
        message_id = finish_id(end.turn_id, end.attempt)
        command = _command("finish_turn", message_id, end, attempt.held)
        await self._run_surely(command, counting(finish_turn(self._ownership, entries, ended)))
        kept = ended[0].held if ended else None
        if kept is None or end.status != "answered":
            # Its client remembers what the records do not.
            await self._shop.pool.discard(self._key, end.reason or "dropped")
        else:
            self._shop.pool.give_back(self._key)
            self._shop.pool.answers[end.path or "?"] += 1
        count_attempt(end)
        _tell(end, attempt.held)
        return ended[0].more if ended else True

    async def _attempt(self, attempt: Started) -> tuple[FinishTurn, Entries]:
        held, bot = attempt.held, self._shop.bots.get(self._key.bot_id)
        end = FinishTurn(
            room_id=self._key.room_id,
            bot_id=self._key.bot_id,
            turn_id=held.turn.turn_id,
            attempt=held.turn.attempt,
            status="failed",
        )
        if bot is None:
            told = "I am not declared here any more."
            return end.model_copy(update={"answer": told, "reason": "unknown_bot"}), []
        if (obstacle := self._shop.obstacle) is not None:
            return end.model_copy(update={"answer": obstacle.told, "reason": obstacle.reason}), []
        began = time.monotonic()
        deltas = Deltas(self._shop.publisher, held) if bot.stream else None
        try:
            client = await self._shop.pool.lend(self._key, attempt.claude_session, attempt.chat.idle_minutes)
            connected, tier = time.monotonic(), client.tier
            said = f"{held.turn.user_name}: {held.turn.text}" if bot.name_speakers else held.turn.text
            answer = await client.ask(held.turn.turn_id, said, deltas.add if deltas else None, deadline=bot.deadline_s)
        except AttemptFailed as failed:
            return self._after_failure(end, held, failed), []
        finally:
            if deltas is not None:
                deltas.close()
        done = {
            "status": "answered",
            "answer": answer.text,
            "path": tier,
            "claude_session": client.claude_session,
            "spent": answer.spent,
            "connect_ms": round((connected - began) * 1000, 1),
            "answer_ms": round((time.monotonic() - connected) * 1000, 1),
        }
        return end.model_copy(update=done), answer.entries

    def _after_failure(self, end: FinishTurn, held: Held, failed: AttemptFailed) -> FinishTurn:
        log.warning(
            "attempt_failed",
            **_names(held),
            reason=failed.failure.reason,
            detail=str(failed)[:500],
            handing_over=self._handing_over,
        )
        told = {"reason": failed.failure.reason, "spent": failed.spent}
        if self._handing_over or failed.failure is INTERRUPTED:
            return end.model_copy(update={**told, "status": "queued"})
        if held.failures + 1 < MAX_FAILURES:
            return end.model_copy(update={**told, "status": "queued", "failed": True})
        return end.model_copy(update={**told, "status": "failed", "answer": failed.failure.told})

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


def _command(name: str, message_id: str, data: StartTurn | FinishTurn, held: Held | None = None) -> Command:
    return Command(
        spec=spec_of(name),
        message_id=message_id,
        data=data,
        sender_agent_id="system",
        timestamp=now(),
        priority="normal",
        correlation_id=held.message_id if held else None,
        hops=held.hops if held else 0,
        trust=held.trust if held else "trusted",
        data_text=encode(data),
        traceparent=(held and held.traceparent) or "",
    )


def _names(held: Held) -> dict[str, str | int]:
    turn = held.turn
    return {"turn_id": turn.turn_id, "room_id": turn.room_id, "bot_id": turn.bot_id, "attempt": turn.attempt}


def _tell(end: FinishTurn, held: Held) -> None:
    log.info(
        "turn_ended",
        **_names(held),
        status=end.status,
        path=end.path,
        reason=end.reason,
        waited_ms=held.turn.waited_ms,
        connect_ms=end.connect_ms,
        answer_ms=end.answer_ms,
        input_tokens=end.spent.input_tokens,
        output_tokens=end.spent.output_tokens,
    )
