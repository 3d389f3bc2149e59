"""How an attempt begins: which turn of a chat is next, and which of those before it nobody wants to be answered."""

from dataclasses import dataclass, replace

from services.claude_worker import budgets
from services.claude_worker.bots import Bot
from services.claude_worker.failures import DIED
from services.claude_worker.handlers.parking import let_go
from services.claude_worker.store import approvals, posts, turns, usage
from services.claude_worker.store.approvals import Decisions
from services.claude_worker.store.chats import HeldChat
from services.claude_worker.store.registry import Ownership
from services.claude_worker.turns import MAX_FAILURES, Held
from shared.database import Transaction
from shared.messages import Event
from shared.messages.chat import Chat, DropReason
from shared.messages.chat_events import ChatDropped, ChatFailed, ChatStarted


@dataclass(slots=True)
class Started:
    """An attempt that has begun: the turn, its chat, and the Claude session to take up again, if there is one.

    `more`: others wait behind it. `goes_on`: it was parked, and goes on with what was decided.
    """

    held: Held
    chat: Chat
    claude_session: str | None
    more: bool = False
    goes_on: Decisions | None = None


async def begin_next(
    tx: Transaction, ownership: Ownership, bot: Bot | None, chat: HeldChat, into: list[Started]
) -> list[Event]:
    """Begin an attempt at the first turn of a chat that is open, put into `into`; nothing when it waits or is none.

    The chat is locked. Returns what is to be told.
    """
    events: list[Event] = []
    room = (chat.chat.room_id, chat.chat.bot_id)
    while first := await turns.lock_first_open(tx, ownership.partition, *room):
        held = first.held
        # What was begun before it was parked is not refused any more.
        goes_on = chat.parked_turn == held.turn.turn_id
        if reason := "switched_off" if first.is_off else None if goes_on else await _refuse(tx, held, bot):
            dropped = await turns.drop_open(tx, ownership.partition, *room, reason)
            events += [each.told(ChatDropped) for each in dropped]
            break
        if first.more and bot is not None and bot.busy == "interrupt":
            dropped = await turns.drop_older(tx, ownership.partition, *room)
            assert dropped, "a turn that others wait behind is older than they are"
            events += [each.told(ChatDropped) for each in dropped]
            continue
        if held.turn.status == "parked":
            break
        # Another's attempt: he died in it.
        died = held.turn.status == "running" and held.epoch != ownership.epoch
        held = replace(held, failures=held.failures + died, epoch=ownership.epoch)
        if held.failures >= MAX_FAILURES:
            given_up = held.moved(status="failed", answer=DIED.told, reason=DIED.reason)
            saved = await turns.save_turn(tx, given_up)
            await posts.owe_post(tx, saved, DIED.told)
            events.append(saved.told(ChatFailed))
            continue
        chat = await _settled(tx, chat, events)
        decided = await approvals.decisions_of(tx, held.turn.turn_id) if goes_on else None
        # What was to be answered with another is asked by itself once it is first.
        held = held.moved(status="running", attempt=held.turn.attempt + 1, merged_into=None)
        held = await turns.save_turn(tx, held, begins=True)
        events.append(held.told(ChatStarted))
        into.append(Started(held, chat.chat, chat.claude_session, first.more, decided))
        return events
    await _settled(tx, chat, events)
    return events


async def _settled(tx: Transaction, chat: HeldChat, events: list[Event]) -> HeldChat:
    """The chat without what a turn was parked with that nobody wants to be answered any more."""
    if chat.parked_turn is not None:
        chat, told = await let_go(tx, chat)
        events += told
    return chat


async def _refuse(tx: Transaction, held: Held, bot: Bot | None) -> DropReason | None:
    """Refuse what waits when the bot, or the room, has used all it may use on this day; the room is told once."""
    if bot is None or not budgets.is_limited(bot.budget):
        return None
    turn = held.turn
    every_room = budgets.is_limited(bot.budget, room=False)
    day = await usage.find_day(tx, turn.room_id, turn.bot_id, every_room=every_room)
    limit = budgets.used_up(bot.budget, day.bot, day.room)
    if limit is None:
        return None
    if not day.is_refused and await usage.refuse_once(tx, turn.room_id, turn.bot_id):
        await posts.owe_post(tx, held, budgets.refusal(limit))
    return "budget"
