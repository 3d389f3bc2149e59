"""switch_bot: what is begun after it finds the bot switched off, and who is answering is told to stop."""

from collections.abc import Mapping

from services.claude_worker.bots import Bot
from services.claude_worker.store import switches, turns
from shared.bus.follow_ups import FollowUp
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command, Event
from shared.messages.chat import SwitchBot
from shared.messages.chat_events import BotSwitched

# The owners of so many rooms are told at once; those of others find out when they next say that they live.
MAX_TOLD = 100


def switch_bot(bots: Mapping[str, Bot]) -> Handler:
    """Switch a bot, or all of them, off or on. Doing it again changes nothing, but stops what still runs."""

    async def run(tx: Transaction, command: Command) -> Reply:
        data: SwitchBot = command.data
        # One that is not declared any more can still be switched on.
        if data.bot_id is not None and data.bot_id not in bots and not data.on:
            raise not_found("bot", data.bot_id)
        by = command.sender_agent_id
        changed = await switches.switch(tx, data.bot_id, on=data.on, by=by, reason=data.reason)
        told: list[Event] = [BotSwitched(bot_id=data.bot_id, on=data.on, reason=data.reason)] if changed else []
        running = [] if data.on else await turns.running_chats(tx, data.bot_id, MAX_TOLD)
        stops = [FollowUp("run_turns", {"room_id": room_id, "bot_id": bot_id}) for room_id, bot_id in running]
        return Reply({"bot_id": data.bot_id, "on": data.on, "changed": changed}, told, commands=stops)

    return run
