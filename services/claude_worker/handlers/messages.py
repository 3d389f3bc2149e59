"""chat_message and run_turns."""

from collections.abc import Mapping

from services.claude_worker.approvals import Word, word_of
from services.claude_worker.bots import Bot
from services.claude_worker.handlers.approvals import decide_by_word, find_meant
from services.claude_worker.handlers.busy import tell_rejected
from services.claude_worker.handlers.starting import Started, begin_next
from services.claude_worker.store import chats, posts, registry, turns
from services.claude_worker.store.registry import Ownership
from services.claude_worker.turns import Held, reason_not_to_answer
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected, invalid
from shared.messages import Command, Event, new_id
from shared.messages.chat import Approval, ChatMessage, DropReason
from shared.messages.chat_events import ChatDropped, ChatMerged, ChatQueued
from shared.messages.partitions import partition_of


def chat_message(
    bots: Mapping[str, Bot], ownership: Ownership | None = None, begun: dict[str, Started] | None = None
) -> Handler:
    """Give a message its place among those of its room and bot, or refuse it one; no owner of anything is needed.

    Whoever owns its partition, and has nothing else to answer there, begins with it at once: the attempt is put into
    `begun` under the message's id.
    """

    async def run(tx: Transaction, command: Command) -> Reply:
        data: ChatMessage = command.data
        if begun is not None:
            # Of a transaction that has failed.
            begun.pop(command.message_id, None)
        bot = bots.get(data.bot_id)
        if bot is None:
            known = ", ".join(sorted(bots)) or "none"
            raise Rejected(
                "not_found",
                f"bot {data.bot_id!r} does not exist; those declared in switchyard.toml are: {known}",
                bot_id=data.bot_id,
            )
        if not data.text.strip():
            raise invalid("`data` of chat_message is not valid: text is blank", fields=[{"field": "text"}])
        partition = partition_of(data.room_id, data.bot_id)
        held = await chats.lock_chat(tx, data.room_id, data.bot_id, more=1)
        word = word_of(bot, command)
        meant = await find_meant(tx, word, data.room_id, data.bot_id) if word else None
        reason: DropReason | None = reason_not_to_answer(
            bot, data.bot_id, sender=command.sender_agent_id, user_name=data.user_name, hops=command.hops
        )
        if (
            reason is None
            and meant is None
            and bot.busy == "reject"
            and await turns.has_open(tx, partition, data.room_id, data.bot_id)
        ):
            reason = "busy"
        # What is not said to Claude does no harm.
        untrusted = held.untrusted or (command.trust == "untrusted" and reason is None and meant is None)
        if untrusted != held.untrusted:
            held = held._replace(untrusted=untrusted)
            await chats.save_chat(tx, held)
        added, is_first = await turns.add_turn(
            tx,
            {
                **data.model_dump(),
                "turn_id": new_id(),
                "partition": partition,
                "number": held.chat.turns,
                "status": "dropped" if reason else "queued",
                "reason": reason,
                "message_id": command.message_id,
                "sender_agent_id": command.sender_agent_id,
                "hops": command.hops,
                "trust": command.trust,
                "traceparent": command.traceparent or None,
            },
        )
        if reason == "busy":
            await tell_rejected(tx, added)
        if word is not None and meant is not None and reason is None:
            return await _decided(tx, added, word, meant)
        kind = ChatDropped if reason else ChatQueued
        events = [_by_sender(command, kind(room_id=data.room_id, bot_id=data.bot_id, turn=added.turn))]
        if is_first and reason is None and ownership is not None and begun is not None:
            into: list[Started] = []
            if await registry.holds(tx, ownership):
                events += await begin_next(tx, ownership, bot, held, into)
            if into:
                begun[command.message_id] = into[0]
        return Reply({"turn": added.turn}, events, stamped=True)

    return run


def _by_sender(command: Command, event: Event) -> Event:
    """An event of whoever has said something, beside which there may be some of the bot."""
    event.sender_agent_id, event.correlation_id = command.sender_agent_id, command.message_id
    event.priority, event.hops, event.trust = command.priority, command.hops, command.trust
    event.traceparent = command.traceparent or None
    return event


async def _decided(tx: Transaction, said: Held, word: Word, meant: Approval) -> Reply:
    """An approver's word belongs to the turn that has asked for it."""
    said = await turns.save_turn(tx, said.moved(status="merged", merged_into=meant.turn_id))
    turn = said.turn
    events: list[Event] = [ChatMerged(room_id=turn.room_id, bot_id=turn.bot_id, turn=turn)]
    try:
        events += await decide_by_word(tx, word, meant, turn.user_name)
    except Rejected as refused:
        await posts.owe_post(tx, said, f"{refused.message[0].upper()}{refused.message[1:]}.")
    return Reply({"turn": turn}, events)


async def run_turns(tx: Transaction, command: Command) -> Reply:
    """Nothing: that it was committed wakes the owner of the partition."""
    return Reply({"turns": 0})
