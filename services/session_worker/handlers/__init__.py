"""The writing commands of the session worker, a module for each noun: one transaction each, or one for a batch of them.

A module holds its own `HANDLERS` and `BATCH_HANDLERS`; here they become one table each.
"""

from services.session_worker.handlers import conversation, dead_letters, deliveries, sessions
from shared.bus.commit import BatchHandler, Handler

HANDLERS: dict[str, Handler] = {
    **sessions.HANDLERS,
    **conversation.HANDLERS,
    **dead_letters.HANDLERS,
}
BATCH_HANDLERS: dict[str, BatchHandler] = {
    **conversation.BATCH_HANDLERS,
    **deliveries.BATCH_HANDLERS,
}
