"""Looks whether a runner has fallen silent, and publishes the command that notes its run down as lost."""

import asyncio

from services.task_worker.store.runs import is_any_silent
from shared.bus.service import Context
from shared.bus.topology import COMMANDS
from shared.database import is_transient
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages import encode_command, new_id, spec_of

LOOK_SECONDS = 1.0
log = get_logger()


async def watch_runs(context: Context) -> None:
    """Run until cancelled, in every replica: two that see the same silence cost an empty run."""
    spec = spec_of("lose_silent_runs")
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await context.publisher.wait_connected()
        try:
            async with context.database.reading() as tx:
                found = await is_any_silent(tx)
            if found:
                message_id = new_id()
                body = encode_command(spec.name, {}, message_id=message_id, sender_agent_id="system")
                await context.publisher.publish(COMMANDS, spec.routing_key, body, message_id=message_id)
        except BusError as error:
            log.warning("timer_not_published", command=spec.name, reason=str(error))
        except Exception as error:
            if not is_transient(error):
                raise
