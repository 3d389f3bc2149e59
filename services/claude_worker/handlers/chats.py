"""reset_chat and set_chat."""

from collections.abc import Mapping

from services.claude_worker.bots import Bot
from services.claude_worker.handlers.parking import let_go
from services.claude_worker.store import chats, transcripts, turns
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command
from shared.messages.chat import ResetChat, SetChat
from shared.messages.chat_events import ChatDropped, ChatReset
from shared.messages.partitions import partition_of


def reset_chat(bots: Mapping[str, Bot]) -> Handler:
    """Begin anew: what is open is dropped, what was said is forgotten. Doing it again forgets nothing more."""

    async def run(tx: Transaction, command: Command) -> Reply:
        data: ResetChat = command.data
        await _check_bot(tx, bots, data)
        return await _begin_anew(tx, data)

    return run


async def _begin_anew(tx: Transaction, data: ResetChat) -> Reply:
    held = await chats.lock_chat(tx, data.room_id, data.bot_id)
    partition = partition_of(data.room_id, data.bot_id)
    dropped = await turns.drop_open(tx, partition, data.room_id, data.bot_id, "reset")
    held, closed = await let_go(tx, held)
    if held.claude_session is not None:
        await transcripts.forget_session(tx, held.claude_session)
    chat = held.chat.model_copy(update={"conversation": held.chat.conversation + 1})
    await chats.save_chat(tx, chats.HeldChat(chat, None))
    room = {"room_id": data.room_id, "bot_id": data.bot_id}
    told = [ChatDropped(**room, turn=each.turn) for each in dropped]
    return Reply({"chat": chat, "dropped": len(dropped)}, [*told, *closed, ChatReset(**room, chat=chat)])


def set_chat(bots: Mapping[str, Bot]) -> Handler:
    """Say how a room differs from what its bot is declared with."""

    async def run(tx: Transaction, command: Command) -> Reply:
        data: SetChat = command.data
        await _check_bot(tx, bots, data)
        given = data.model_fields_set & {"idle_minutes", "keep_days"}
        held = await chats.lock_chat(tx, data.room_id, data.bot_id)
        chat = held.chat.model_copy(update={name: getattr(data, name) for name in given})
        await chats.save_chat(tx, held._replace(chat=chat))
        return Reply({"chat": chat})

    return run


async def _check_bot(tx: Transaction, bots: Mapping[str, Bot], data: ResetChat | SetChat) -> None:
    # What was said to one that is not declared any more can still be forgotten, or kept for another time.
    if data.bot_id not in bots and not await chats.exists(tx, data.room_id, data.bot_id):
        raise not_found("bot", data.bot_id)
