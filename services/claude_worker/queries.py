"""The Claude worker's reading commands."""

from collections import Counter
from datetime import datetime
from typing import Any

from services.claude_worker.store import approvals, reading, registry
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.messages import Command
from shared.messages.chat import ChatStats, ListApprovals, ListTurns
from shared.pages import cursor_after, page_of, sort_key

_SUMMED = ("clients", "busy", "idle", "waiting", "max_clients")


async def chat_stats(tx: Transaction, command: Command) -> dict[str, Any]:
    """What the replicas say of their pools, at most some seconds old, and their sum; the queue; what was used today."""
    data: ChatStats = command.data
    workers = await registry.find_statuses(tx)
    pool: dict[str, Any] = {name: sum(worker.get(name, 0) for worker in workers) for name in _SUMMED}
    for counts in ("answers", "closed"):
        pool[counts] = dict(sum((Counter(worker.get(counts, {})) for worker in workers), Counter()))
    answers = sum(pool["answers"].values())
    pool["hit_rate"] = round(pool["answers"].get("hot", 0) / answers, 4) if answers else None
    queue = await reading.count_open(tx)
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


QUERIES: dict[str, QueryHandler] = {query.__name__: query for query in (chat_stats, list_turns, list_approvals)}
