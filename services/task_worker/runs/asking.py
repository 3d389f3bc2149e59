"""Tells runners what is asked of their runs, while the request itself waits for the answer.

A command that waits is not recorded, and neither would be what it tells. So what it asks is a command of its own,
published once the first look of the waiting one is committed; again under the same id, should that be looked at again.
"""

import asyncio
from collections.abc import Sequence

from shared.bus.follow_ups import follow_up_id
from shared.bus.service import Context
from shared.bus.topology import COMMANDS
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages import Command, encode_command, spec_of
from shared.messages.envelope import MAX_HOPS
from shared.messages.runs_control import AskAgent

log = get_logger()


class Asking:
    """What is to be asked of runners: noted by the handler, published after its commit."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[Command, AskAgent]] = {}
        self._committed: asyncio.Queue[tuple[Command, AskAgent]] = asyncio.Queue()

    def ask(self, command: Command, asked: AskAgent) -> None:
        """Note what a request that is going to wait asks."""
        self._noted[command.message_id] = command, asked

    def committed(self, commands: Sequence[Command]) -> None:
        """These were committed, or looked at in vain: what they ask can be told."""
        if not self._noted:
            return
        for command in commands:
            noted = self._noted.pop(command.message_id, None)
            if noted is not None:
                self._committed.put_nowait(noted)

    async def run(self, context: Context) -> None:
        """Publish until cancelled. What is not taken by the broker is lost, and its request ends by `timeout`."""
        while True:
            command, asked = await self._committed.get()
            message_id = follow_up_id(command.message_id, 0)
            body = encode_command(
                "ask_agent",
                {name: value for name, value in asked.__dict__.items() if value is not None},
                message_id=message_id,
                sender_agent_id=command.sender_agent_id,
                priority=command.priority,
                correlation_id=command.message_id,
                # No reaction to the request, but that itself.
                hops=min(command.hops, MAX_HOPS - 1),
                trust=command.trust,
            )
            try:
                await context.publisher.publish(
                    COMMANDS, spec_of("ask_agent").routing_key, body, message_id=message_id,
                    headers={"traceparent": command.traceparent} if command.traceparent else None,
                )  # fmt: skip
            except BusError as error:
                log.warning("agent_not_asked", reason=str(error), message_id=command.message_id)
