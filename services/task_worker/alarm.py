"""The alarm: looks when a lease lapses or a moment comes, and publishes the command that does what is due then."""

import asyncio
from datetime import datetime

from services.task_worker.store.timers import Next, find_next
from shared.bus.service import Context
from shared.bus.topology import COMMANDS
from shared.database import is_transient
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages import encode_command, new_id, spec_of

# How often it looks at the heads of two indexes; what comes in between by another's hand is found then.
LOOK_SECONDS = 0.2
# How soon it says again what is still to be done: a run takes up a bounded number.
AGAIN_SECONDS = 0.1
AWAY_SECONDS = 1.0
log = get_logger()


async def watch(context: Context) -> None:
    """Run until cancelled, in every replica: two that see the same moment cost an empty run."""
    while True:
        # What can't be said need not be looked for; and to say so ten times a second would fill the log.
        await context.publisher.wait_connected()
        try:
            async with context.database.reading() as tx:
                following = await find_next(tx)
        except Exception as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(AWAY_SECONDS)
            continue
        for command in due(following):
            await _publish(context, command)
        await asyncio.sleep(pause(following))


def due(following: Next) -> list[str]:
    """The commands that have something to do now."""
    moments = {"expire_leases": following.lapse, "run_due_tasks": following.due}
    return [command for command, moment in moments.items() if moment is not None and moment <= following.now]


def pause(following: Next) -> float:
    """How long to wait before looking again: until something is due, if that is sooner than the next look."""
    moments: list[datetime] = [moment for moment in (following.lapse, following.due) if moment is not None]
    if not moments:
        return LOOK_SECONDS
    first = (min(moments) - following.now).total_seconds()
    return AGAIN_SECONDS if first <= 0 else min(first + 0.002, LOOK_SECONDS)


async def _publish(context: Context, command: str) -> None:
    message_id = new_id()
    body = encode_command(command, {}, message_id=message_id, sender_agent_id="system")
    try:
        await context.publisher.publish(COMMANDS, spec_of(command).routing_key, body, message_id=message_id)
    except BusError as error:
        log.warning("timer_not_published", command=command, reason=str(error))
