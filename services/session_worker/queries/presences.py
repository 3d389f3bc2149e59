"""Who was told to be there."""

from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.messages import Command
from shared.messages.live import ListPresences


async def list_presences(tx: Transaction, command: Command) -> dict[str, Any]:
    """The last event `agent_presence` of each agent that is there by it; `next` is the `after` of the next page."""
    asked: ListPresences = command.data
    page = await store.presences.list_presences(tx, asked.after or "", asked.limit)
    return {"presences": [body for _, body in page], "next": page[-1][0] if len(page) == asked.limit else None}


QUERIES: dict[str, QueryHandler] = {"list_presences": list_presences}
