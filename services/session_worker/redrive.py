"""Redriving: publishes dead letters again, outside of any transaction.

The command marks them (commit); here they are claimed (commit), published, and noted as done (commit). A crash before
the note has them published once more a minute later, under the same message id, so the worker that takes them answers
the second one from its record.
"""

import asyncio

from services.session_worker import store
from services.session_worker.dead_letters import redriven_headers
from services.session_worker.store.dead_letters import KeptLetter
from shared.bus.publisher import Publisher
from shared.bus.topology import COMMANDS, EXCHANGES
from shared.database import Database, is_transient
from shared.errors import BusError, Unroutable
from shared.logs import get_logger

POLL_SECONDS = 1.0
# Bodies may have 26 MB each.
BATCH_LETTERS = 10
# Publishing to an exchange that does not exist would end the connection for everybody.
_EXCHANGES = {"", *(exchange.name for exchange in EXCHANGES)}
log = get_logger()


async def redrive(database: Database, publisher: Publisher) -> None:
    """Redrive until cancelled."""
    while True:
        await publisher.wait_connected()
        try:
            while await redrive_some(database, publisher) == BATCH_LETTERS:
                pass
        except Exception as error:
            if isinstance(error, BusError) or is_transient(error):
                log.warning("redrive_waits", reason=str(error).split("\n")[0])
            else:
                log.error("redrive_failed", exc_info=error)
        await asyncio.sleep(POLL_SECONDS)


async def redrive_some(database: Database, publisher: Publisher) -> int:
    """Publish a few of the dead letters that are due; returns how many were.

    Raises `BusError`: those that were not published are due again later.
    """
    async with database.transaction() as tx:
        letters = await store.dead_letters.claim_redrives(tx, BATCH_LETTERS)
    published: list[int] = []
    hopeless: list[int] = []
    try:
        for letter in letters:
            try:
                await _publish(publisher, letter)
            except (Unroutable, ValueError) as error:
                log.error("redrive_impossible", dead_letter_id=letter.id, reason=str(error))
                hopeless.append(letter.id)
            else:
                published.append(letter.id)
    finally:
        if letters:
            async with database.transaction() as tx:
                await store.dead_letters.finish_redrives(tx, published, hopeless)
    if published:
        log.info("dead_letters_redriven", letters=len(published))
    return len(letters)


async def _publish(publisher: Publisher, letter: KeptLetter) -> None:
    await publisher.publish(
        letter.exchange if letter.exchange in _EXCHANGES else COMMANDS,
        letter.routing_key,
        letter.body,
        message_id=letter.message_id or "",
        headers=redriven_headers(letter),
        content_encoding=letter.content_encoding or "",
        deadline=10,
    )
