"""Events of commands that nobody will deliver again, told by another worker when the one that handled them has died."""

import asyncio

from shared.bus.commit import Outcome
from shared.bus.handled import take_unconfirmed
from shared.bus.outbox import Outbox
from shared.bus.publications import publications
from shared.bus.publisher import Publisher
from shared.database import Database, is_transient
from shared.logs import get_logger

# How old they must be, which nobody's are who lives and has a broker; and how often they are looked for.
LEFT_BEHIND_SECONDS = 10
AT_ONCE = 100
log = get_logger()


async def tell_unconfirmed(database: Database, publisher: Publisher, outbox: Outbox) -> None:
    """Publish, until cancelled, what was left behind; the outbox's owner marks it with what else it has published.

    Who lives still but is slow has it published twice, under the same ids.
    """
    while True:
        await publisher.wait_connected()
        left: dict[str, str | None] = {}
        try:
            async with database.transaction() as tx:
                left = await take_unconfirmed(tx, AT_ONCE, LEFT_BEHIND_SECONDS)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("unconfirmed_not_looked_for", reason=str(error).split("\n")[0])
        if left:
            log.warning("events_left_behind", commands=len(left), message_ids=list(left)[:3])
            outcomes = [
                (message_id, Outcome(b"", publications(events), "repeated", unconfirmed=True))
                for message_id, events in left.items()
            ]
            await outbox.deliver(outcomes, outbox.send([outcome for _, outcome in outcomes]))
        if len(left) < AT_ONCE:
            await asyncio.sleep(LEFT_BEHIND_SECONDS)
