"""Looks for approvals that nobody has given in time, and refuses what waits for them."""

import asyncio

from services.claude_worker.answering.orders import order
from services.claude_worker.handlers.approvals import expire_approval
from services.claude_worker.store import approvals
from shared.bus.local import LocalCommands
from shared.database import Database, is_transient
from shared.logs import get_logger
from shared.messages import new_id
from shared.messages.chat import ExpireApproval

LOOK_SECONDS = 1.0
# So many at a time; the others a moment later.
MAX_EXPIRED = 50
log = get_logger()


async def watch(database: Database, local: LocalCommands) -> None:
    """Run until cancelled, on every replica: what another has refused meanwhile stays as it is."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            async with database.reading() as tx:
                expired = await approvals.find_expired(tx, MAX_EXPIRED)
            for approval_id in expired:
                await local.run(
                    order("expire_approval", new_id(), ExpireApproval(approval_id=approval_id)), expire_approval
                )
        except Exception as error:
            if not is_transient(error):
                log.exception("approvals_not_expired")
            else:
                log.warning("database_away", reason=str(error).split("\n")[0])
