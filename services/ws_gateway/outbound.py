"""What the gateway itself says on the bus: events, and internal commands."""

from typing import Any

import orjson

from shared.bus.bodies import packed
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.bus.topology import COMMANDS, EVENTS
from shared.errors import Rejected
from shared.messages import Event, encode_command, spec_of
from shared.messages.json_text import slices

# Who sends it: not an agent, so it is no news for the audit log.
SYSTEM = "system"
REPLY_SECONDS = 5.0


class Outbound:
    """Sends through the gateway's publisher. Everything raises `BusError` while the broker is away."""

    def __init__(self, publisher: Publisher, rpc: Rpc) -> None:
        self._publisher = publisher
        self._rpc = rpc

    async def event(self, event: Event) -> None:
        """Publish an event; returns once the broker has it."""
        body, encoding = packed(event.encoded())
        await self._publisher.publish(
            EVENTS, event.routing_key(), body, message_id=event.message_id, content_encoding=encoding
        )

    async def command(self, name: str, data: dict[str, Any], message_id: str) -> None:
        """Send a command of whose reply nothing depends; returns once the broker has it, and so will be done."""
        body, encoding = packed(encode_command(name, data, message_id=message_id, sender_agent_id=SYSTEM))
        await self._publisher.publish(
            COMMANDS, spec_of(name).routing_key, body, message_id=message_id, content_encoding=encoding
        )

    async def use_resume_token(self, connection_id: str, agent_id: str, resumed_as: str, message_id: str) -> None:
        """Note that a connection was resumed. Raises `Rejected`, `BusError`, or TimeoutError: perhaps it is noted."""
        data = {"connection_id": connection_id, "agent_id": agent_id, "resumed_as": resumed_as}
        name = "use_resume_token"
        body = encode_command(name, data, message_id=message_id, sender_agent_id=SYSTEM)
        reply = slices(await self._rpc.request(spec_of(name), body, message_id=message_id, wait=REPLY_SECONDS))
        if reply["ok"] != b"true":
            fault = orjson.loads(reply["error"])
            raise Rejected(fault["code"], fault["message"])
