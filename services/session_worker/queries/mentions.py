"""What waits for an agent."""

from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.messages import Command
from shared.messages.mentions import ListMentions


async def list_mentions(tx: Transaction, command: Command) -> dict[str, Any]:
    """The mentions that have not reached an agent yet, in the order in which they were made."""
    asked: ListMentions = command.data
    return {"mentions": await store.mentions.list_mentions(tx, asked.agent_id, asked.limit, asked.after)}


QUERIES: dict[str, QueryHandler] = {"list_mentions": list_mentions}
