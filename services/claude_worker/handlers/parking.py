"""Turns that wait for somebody to allow a tool: how they are parked, go on, and are let go when nobody wants them."""

from dataclasses import dataclass

from services.claude_worker import approvals as rules
from services.claude_worker.bots import Bot
from services.claude_worker.store import approvals, chats, posts, transcripts, turns
from services.claude_worker.store.chats import HeldChat
from services.claude_worker.tools.errand import Asked
from services.claude_worker.turns import OPEN, Held
from shared.database import Transaction
from shared.messages import Event
from shared.messages.chat import Approval
from shared.messages.chat_events import ApprovalDecided, ApprovalRequested


@dataclass(frozen=True, slots=True)
class Parked:
    """What an attempt has come to a stop for, and of which bot."""

    bot: Bot
    asked: Asked


async def park(tx: Transaction, held: Held, parked: Parked) -> list[Event]:
    """Ask, in the room as well, for the tool that a turn, which is saved as parked, waits for."""
    seconds = parked.bot.approval_minutes * 60
    approval = await approvals.add_approval(tx, held, parked.asked, seconds=seconds)
    await posts.owe_post(tx, held, rules.request(approval, parked.bot))
    return [told(ApprovalRequested, held, approval)]


def told(kind: type[ApprovalRequested | ApprovalDecided], held: Held, approval: Approval) -> Event:
    """An event of an approval: from the bot, caused by the message, a hop further."""
    return kind(
        room_id=approval.room_id,
        bot_id=approval.bot_id,
        approval=approval,
        sender_agent_id=approval.bot_id,
        correlation_id=held.message_id,
        hops=held.hops + 1,
        trust=held.trust,
        traceparent=held.traceparent,
    )


async def let_go(tx: Transaction, chat: HeldChat) -> tuple[HeldChat, list[Event]]:
    """Forget what the turn that was parked has said and asked for, if it was dropped or has failed since.

    The chat is locked.
    """
    held = await turns.lock_turn(tx, chat.parked_turn) if chat.parked_turn else None
    if chat.parked_turn is None or (held is not None and held.turn.status in OPEN):
        return chat, []
    events: list[Event] = []
    if held is not None:
        note = f"the message was {held.turn.status}: {held.turn.reason}"
        closed = await approvals.close(tx, chat.parked_turn, by="system", note=note)
        events = [told(ApprovalDecided, held, approval) for approval in closed]
    kept = chat.claude_session
    if kept is not None and not await transcripts.forget_turn(tx, kept, chat.parked_turn):
        kept = None
    chat = chat._replace(claude_session=kept, parked_turn=None)
    await chats.save_chat(tx, chat)
    return chat, events
