"""The state of a session."""

from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command
from shared.messages.state import GetState


async def get_state(tx: Transaction, command: Command) -> dict[str, Any]:
    """A session's state and its version, read in one statement."""
    asked: GetState = command.data
    state = await store.states.find_state(tx, asked.session_id)
    if state is None:
        raise not_found("session", asked.session_id)
    return {"state": state.whole(), "version": state.version}


QUERIES: dict[str, QueryHandler] = {"get_state": get_state}
