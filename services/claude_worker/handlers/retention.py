"""clean_chats: what is older than it is kept is forgotten, a piece at a time."""

from collections.abc import Mapping
from typing import Any

from services.claude_worker.bots import Bot
from services.claude_worker.store import retention
from shared.bus.follow_ups import FollowUp
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.chat import CleanChats

# What is kept of bots that are declared no more.
UNDECLARED_DAYS = 30.0
# One transaction forgets so many chats, begins none after so many rows, and takes so many turns of one at most.
CHATS = 20
ROWS = 2_000
TURNS = 500


def clean_up(bots: Mapping[str, Bot]) -> dict[str, Any]:
    """The data of clean_chats for the bots that are declared."""
    keep = [{"bot_id": bot_id, "days": bot.keep_days} for bot_id, bot in bots.items()]
    return {"keep": keep, "days": UNDECLARED_DAYS}


async def clean_chats(tx: Transaction, command: Command) -> Reply:
    """Forget what is kept no longer; when that is more than one transaction should do, it goes on in the next.

    The owner of a chat that is gone closes its client when he next looks (`Housekeeping`).
    """
    data: CleanChats = command.data
    keep = {each.bot_id: each.days for each in data.keep}
    expired = await retention.lock_expired(tx, keep, data.days, CHATS)
    forgotten = rows = 0
    is_over = len(expired) < CHATS
    for chat in expired:
        if rows >= ROWS:
            is_over = False
            break
        is_gone, taken = await retention.forget(tx, chat, TURNS)
        rows += taken
        forgotten += is_gone
        is_over = is_over and is_gone
    follow = [] if is_over else [FollowUp("clean_chats", data.model_dump(), hops=0)]
    return Reply({"forgotten": forgotten, "rows": rows}, commands=follow)
