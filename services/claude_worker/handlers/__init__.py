"""The Claude worker's writing commands."""

from collections.abc import Mapping

from services.claude_worker.bots import Bot
from services.claude_worker.handlers.approvals import decide_as
from services.claude_worker.handlers.chats import reset_chat, set_chat
from services.claude_worker.handlers.messages import chat_message, run_turns
from services.claude_worker.handlers.retention import clean_chats
from services.claude_worker.handlers.starting import Started
from services.claude_worker.handlers.switches import switch_bot
from services.claude_worker.store.registry import Ownership
from shared.bus.follow_ups import FollowUp
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command


def partition_handlers(
    bots: Mapping[str, Bot], ownership: Ownership | None = None, begun: dict[str, Started] | None = None
) -> dict[str, Handler]:
    """What is published to a partition; its owner sees to the rest when it is committed.

    `ownership` and `begun` are the owner's: see `chat_message`.
    """
    return {
        "chat_message": chat_message(bots, ownership, begun),
        "reset_chat": reset_chat(bots),
        "set_chat": set_chat(bots),
        "run_turns": run_turns,
    }


def area_handlers(bots: Mapping[str, Bot]) -> dict[str, Handler]:
    """What is published by the plain key; whoever owns the partition of what has a partition is told by a follow-up."""
    told = {name: _telling(handler) for name, handler in partition_handlers(bots).items() if name != "run_turns"}
    return {
        **told,
        "switch_bot": switch_bot(bots),
        "clean_chats": clean_chats,
        "approve": decide_as("approved"),
        "deny": decide_as("denied"),
    }


def _telling(handler: Handler) -> Handler:
    async def run(tx: Transaction, command: Command) -> Reply:
        reply = await handler(tx, command)
        room = {"room_id": command.data.room_id, "bot_id": command.data.bot_id}
        reply.commands.append(FollowUp("run_turns", room))
        return reply

    return run
