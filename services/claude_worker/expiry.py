"""Looks for approvals that nobody has given in time, and refuses what waits for them."""

import asyncio

import uuid_utils

from services.claude_worker.handlers.approvals import expire_approval
from services.claude_worker.orders import order
from services.claude_worker.store import approvals
from shared.bus.local import LocalCommands
from shared.database import Database, is_transient
from shared.logs import get_logger
from shared.messages.chat import ExpireApproval

LOOK_SECONDS = 1.0
# So many at a time; the others a moment later.
MAX_EXPIRED = 50
_EXPIRIES = uuid_utils.UUID("c0b5e2b4-7c39-5f0e-8d1b-6e4b1b0f2a97")
log = get_logger()


async def watch(database: Database, local: LocalCommands) -> None:
    """Run until cancelled, on every replica: the same order under the same id happens once."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            async with database.reading() as tx:
                expired = await approvals.find_expired(tx, MAX_EXPIRED)
            for approval_id in expired:
                message_id = str(uuid_utils.uuid5(_EXPIRIES, approval_id))
                await local.run(
                    order("expire_approval", message_id, ExpireApproval(approval_id=approval_id)), expire_approval
                )
        except Exception as error:
            if not is_transient(error):
                log.exception("approvals_not_expired")
            else:
                log.warning("database_away", reason=str(error).split("\n")[0])
