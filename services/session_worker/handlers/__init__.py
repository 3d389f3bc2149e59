"""The writing commands of the session worker, a module for each noun: one transaction each, or one for a batch of them.

A module holds its own `HANDLERS` and `BATCH_HANDLERS`; here they become one table each.
"""

from services.session_worker.handlers import (
    actions,
    artifacts,
    conversation,
    dead_letters,
    deliveries,
    hooks,
    keys,
    live,
    mentions,
    sessions,
    sidebars,
    states,
    transfer,
)
from shared.bus.replies import BatchHandler, Handler

HANDLERS: dict[str, Handler] = {
    **sessions.HANDLERS,
    **conversation.HANDLERS,
    **states.HANDLERS,
    **artifacts.HANDLERS,
    **deliveries.HANDLERS,
    **hooks.HANDLERS,
    **dead_letters.HANDLERS,
    **keys.HANDLERS,
    **live.HANDLERS,
    **mentions.HANDLERS,
    **transfer.HANDLERS,
    **sidebars.HANDLERS,
}
BATCH_HANDLERS: dict[str, BatchHandler] = {
    **conversation.BATCH_HANDLERS,
    **actions.BATCH_HANDLERS,
    **deliveries.BATCH_HANDLERS,
    **live.BATCH_HANDLERS,
    **sidebars.BATCH_HANDLERS,
}
