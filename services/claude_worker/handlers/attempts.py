"""start_turn and finish_turn, which the owner of a partition gives itself; nothing is written once it is another's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.claude_worker import budgets
from services.claude_worker.bots import Bot
from services.claude_worker.handlers.parking import Parked, park
from services.claude_worker.handlers.starting import Started, begin_next
from services.claude_worker.store import chats, posts, transcripts, turns, usage
from services.claude_worker.store.registry import Ownership
from services.claude_worker.store.transcripts import Place
from services.claude_worker.turns import Held, finished, spent, turns_used
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command, Event
from shared.messages.chat import BotUsage, FinishTurn, StartTurn
from shared.messages.chat_events import (
    ChatAnswered,
    ChatBudgetWarned,
    ChatDropped,
    ChatFailed,
    ChatMerged,
    ChatRequeued,
    TurnEvent,
)

Entries = Sequence[tuple[Place, list[dict[str, object]]]]


@dataclass(slots=True)
class Ended:
    """What an attempt came to: the turn, none if it was dropped meanwhile, and whether the chat has more to do.

    `next`: the attempt that has begun in the same transaction.
    """

    held: Held | None
    more: bool
    next: Started | None = None


def start_turn(ownership: Ownership, bot: Bot | None, into: list[Started]) -> Handler:
    """Begin an attempt at the first turn of a chat that is open, put into `into`; nothing when it waits or is none.

    Raises `Fenced`.
    """

    async def run(tx: Transaction, command: Command) -> Reply:
        data: StartTurn = command.data
        into.clear()
        chat = await chats.hold_chat(tx, ownership, data.room_id, data.bot_id)
        events = await begin_next(tx, ownership, bot, chat, into)
        return Reply({"turn": into[0].held.turn if into else None}, events, stamped=True)

    return run


_TOLD: dict[str, type[TurnEvent]] = {
    "answered": ChatAnswered,
    "failed": ChatFailed,
    "queued": ChatRequeued,
    "dropped": ChatDropped,
}


def finish_turn(
    ownership: Ownership,
    bot: Bot | None,
    entries: Entries,
    into: list[Ended],
    *,
    goes_on: bool = False,
    parked: Parked | None = None,
) -> Handler:
    """Keep what an attempt came to: the answer and, in the same transaction, what Claude remembers of it.

    The turns that were answered with it are merged into it. A turn that was dropped while it ran stays that, and
    nothing is remembered. `goes_on`: the next attempt begins in the same transaction. `parked`: what
    it waits for when it is parked. Raises `Fenced`.
    """

    async def run(tx: Transaction, command: Command) -> Reply:
        data: FinishTurn = command.data
        into.clear()
        chat = await chats.hold_chat(tx, ownership, data.room_id, data.bot_id)
        held, more = await turns.lock_attempt(tx, data.turn_id)
        await usage.add_usage(tx, data.room_id, data.bot_id, data.spent, turns=turns_used(data))
        events: list[Event] = []
        if held is None or held.turn.status != "running" or held.turn.attempt != data.attempt:
            held, merged = None, []
        else:
            if data.status == "queued":
                held = replace(held.moved(status="queued", reason=data.reason), failures=held.failures + data.failed)
            elif data.status == "parked":
                held = held.moved(status="parked", **spent(held, data))
            else:
                held = held.moved(**finished(held, data, datetime.now(UTC)).__dict__)
            held = await turns.save_turn(tx, held)
            if parked is not None:
                events += await park(tx, held, parked)
            else:
                events.append(held.told(_TOLD[data.status]))
            if data.status in ("answered", "failed"):
                await posts.owe_answer(tx, held)
            merged = data.merged
            if data.status == "answered" and chat.parked_turn == data.turn_id:
                merged = [*merged, *await turns.find_joined(tx, held)]
            events += await _merge(tx, held, merged)
            if data.claude_session is not None:
                parked_turn = held.turn.turn_id if parked is not None else None
                for place, lines in entries:
                    await transcripts.add_entries(tx, place, lines, turn_id=parked_turn)
                if (data.claude_session, parked_turn) != (chat.claude_session, chat.parked_turn):
                    chat = chat._replace(claude_session=data.claude_session, parked_turn=parked_turn)
                    await chats.save_chat(tx, chat)
            if bot is not None and budgets.is_limited(bot.budget):
                events += await _warn(tx, held, bot)
        if held is None or merged or data.status in ("queued", "parked"):
            more = await turns.has_open(tx, ownership.partition, data.room_id, data.bot_id)
        begun: list[Started] = []
        if more and goes_on and held is not None:
            events += await begin_next(tx, ownership, bot, chat, begun)
            more = bool(begun)
        into.append(Ended(held, more, begun[0] if begun else None))
        return Reply({"turn": held and held.turn, "more": more}, events, stamped=True)

    return run


async def _merge(tx: Transaction, held: Held, turn_ids: Sequence[str]) -> list[Event]:
    """Let turns be answered with another; what was dropped meanwhile stays that.

    Those of one that is parked wait with it: if it is not answered after all, they are asked by themselves.
    """
    events: list[Event] = []
    for turn_id in turn_ids:
        each = await turns.lock_turn(tx, turn_id)
        if each is None or each.turn.status != "queued":
            continue
        each = each.moved(merged_into=held.turn.turn_id)
        if held.turn.status == "parked":
            await turns.save_turn(tx, each)
        else:
            merged = await turns.save_turn(tx, each.moved(status="merged"))
            events.append(merged.told(ChatMerged))
    return events


async def _warn(tx: Transaction, held: Held, bot: Bot) -> list[Event]:
    """Say, once a day of the bot and once of the room, that most of a budget is used."""
    room_id, bot_id = held.turn.room_id, held.turn.bot_id
    every_room = budgets.is_limited(bot.budget, room=False)
    day = await usage.find_day(tx, room_id, bot_id, every_room=every_room)
    events: list[Event] = []
    for limit in budgets.to_warn_of(bot.budget, day.bot, day.room):
        if not await usage.warn_once(tx, room_id if limit.of_room else "", bot_id):
            continue
        await posts.owe_post(tx, held, budgets.warning(limit))
        used = day.room if limit.of_room else day.bot
        told = BotUsage(
            bot_id=bot_id,
            room_id=room_id if limit.of_room else None,
            day=day.day,
            turns=used.turns,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cost_usd=used.cost_usd,
        )
        warned = ChatBudgetWarned(room_id=room_id, bot_id=bot_id, usage=told, limit=limit.name, sender_agent_id=bot_id)
        events.append(warned)
    return events
