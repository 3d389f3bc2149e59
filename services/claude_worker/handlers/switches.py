"""switch_bot: what is begun after it finds the bot switched off."""

from collections.abc import Mapping

from services.claude_worker.bots import Bot
from services.claude_worker.store import switches
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command, Event
from shared.messages.chat import SwitchBot
from shared.messages.chat_events import BotSwitched


def switch_bot(bots: Mapping[str, Bot]) -> Handler:
    """Switch a bot, or all of them, off or on. Doing it again changes nothing."""

    async def run(tx: Transaction, command: Command) -> Reply:
        data: SwitchBot = command.data
        # One that is not declared any more can still be switched on.
        if data.bot_id is not None and data.bot_id not in bots and not data.on:
            raise not_found("bot", data.bot_id)
        by = command.sender_agent_id
        changed = await switches.switch(tx, data.bot_id, on=data.on, by=by, reason=data.reason)
        told: list[Event] = [BotSwitched(bot_id=data.bot_id, on=data.on, reason=data.reason)] if changed else []
        return Reply({"bot_id": data.bot_id, "on": data.on, "changed": changed}, told)

    return run
