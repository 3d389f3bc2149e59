"""The Claude worker's reading commands."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.claude_worker import budgets
from services.claude_worker.bots import Bot
from services.claude_worker.budgets import Used
from services.claude_worker.store import approvals, posts, reading, registry, switches
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.messages import Command
from shared.messages.chat import ChatStats, ListApprovals, ListTurns
from shared.pages import cursor_after, page_of, sort_key

_SUMMED = ("clients", "busy", "idle", "connecting", "waiting", "max_clients", "memory_mb", "orphans")


def chat_stats(bots: Mapping[str, Bot]) -> QueryHandler:
    """What the replicas say of their pools, some seconds old at most, and their sum; the queue; the bots; use today."""

    async def run(tx: Transaction, command: Command) -> dict[str, Any]:
        data: ChatStats = command.data
        off = await switches.find_off(tx)
        used = await reading.used_today_by_bot(tx, data.room_id)
        whole = used if data.room_id is None else await reading.used_today_by_bot(tx, None)
        named = [bot_id for bot_id in bots if data.bot_id in (None, bot_id)]
        return {
            **await _pool_and_queue(tx, data),
            "bots": [
                {**_bot(bot_id, bots[bot_id], off, used), "budget": _budget(bots[bot_id], whole.get(bot_id), here)}
                for bot_id in named
                for here in [used.get(bot_id, reading.NOTHING_USED) if data.room_id else None]
            ],
        }

    return run


def _bot(
    bot_id: str, bot: Bot, off: Mapping[str, dict[str, Any]], used: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    switched = off.get(bot_id) or off.get("")
    return {
        "bot_id": bot_id,
        "name": bot.name,
        "model": bot.model,
        "busy": bot.busy,
        "on": switched is None,
        # Who has switched it off and why, and whether that was all of them.
        "switched": switched and {**switched, "all": bot_id not in off},
        "today": used.get(bot_id, reading.NOTHING_USED),
    }


def _budget(bot: Bot, whole: dict[str, Any] | None, here: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What may be used today and what is left of it: by the bot, and by each room if one is asked about."""
    limits = budgets.limits(bot.budget, Used(**whole or {}), None if here is None else Used(**here))
    return [{"limit": each.name, "most": each.most, "used": each.used, "left": each.left} for each in limits]


async def _pool_and_queue(tx: Transaction, data: ChatStats) -> dict[str, Any]:
    workers = await registry.find_statuses(tx)
    pool: dict[str, Any] = {name: round(sum(worker.get(name, 0) for worker in workers), 1) for name in _SUMMED}
    for counts in ("answers", "closed"):
        pool[counts] = dict(sum((Counter(worker.get(counts, {})) for worker in workers), Counter()))
    answers = sum(pool["answers"].values())
    pool["hit_rate"] = round(pool["answers"].get("hot", 0) / answers, 4) if answers else None
    queue = {
        **await reading.count_open(tx),
        "posts": await posts.count_waiting(tx),
        "chats": await reading.open_chats(tx, data.room_id, data.bot_id),
    }
    return {
        "workers": workers,
        "pool": pool,
        "queue": {**queue, "today": await reading.used_today(tx, data.room_id, data.bot_id)},
    }


async def list_turns(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of turns, the newest first."""
    data: ListTurns = command.data
    after = sort_key(data.cursor, datetime, str)
    wanted = {"room_id": data.room_id, "bot_id": data.bot_id, "status": data.status}
    page, last = page_of(await reading.list_turns(tx, wanted, after, data.limit + 1), data.limit)
    return {"turns": page, "next": cursor_after(last.queued, last.turn_id) if last else None}


async def list_approvals(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of approvals, the newest first."""
    data: ListApprovals = command.data
    after = sort_key(data.cursor, datetime, str)
    wanted = {"room_id": data.room_id, "bot_id": data.bot_id, "status": data.status}
    page, last = page_of(await approvals.list_approvals(tx, wanted, after, data.limit + 1), data.limit)
    return {"approvals": page, "next": cursor_after(last.created, last.approval_id) if last else None}


def queries(bots: Mapping[str, Bot]) -> dict[str, QueryHandler]:
    """The reading commands by their names."""
    return {"chat_stats": chat_stats(bots), "list_turns": list_turns, "list_approvals": list_approvals}
