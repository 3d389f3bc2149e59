"""The audit of the door: who came in, was turned away, subscribed, resumed; and that the gateway shut down."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from services.ws_gateway.door.access import Identity
from services.ws_gateway.posting import Posting
from shared.messages.envelope import now

# What goes in one command, how long the first of it waits, and how much is kept while the bus is away.
AT_MOST, WAIT_SECONDS, ROOM = 500, 1.0, 10_000
# The key and the agent of whoever did not show who it is: no key can have this name.
NOBODY = "-"
_LONGEST_ID, _LONGEST_TARGET, _LONGEST_OUTCOME = 255, 500, 200

Act = Literal["connect", "refuse", "subscribe", "resume", "shutdown"]
# Sends an internal command, given its name, its data and its message id.
Command = Callable[[str, dict[str, Any], str], Awaitable[None]]


class Audit:
    """Has the acts written into the audit log. Never given a token, a topic or a text of somebody's."""

    def __init__(self, command: Command) -> None:
        async def send(acts: Sequence[Any], message_id: str) -> None:
            await command("record_gateway_acts", {"acts": list(acts)}, message_id)

        self.posting = Posting("gateway_acts", send, at_most=AT_MOST, wait_s=WAIT_SECONDS, room=ROOM)

    def note(self, act: Act, identity: Identity | None, target: str, outcome: str = "ok") -> None:
        """Note an act about a target.

        The same act with the same outcome of the same one about the same target within a second is noted once.
        """
        key, agent_id = (identity.caller.name, identity.agent_id) if identity else (NOBODY, NOBODY)
        noted = {
            "timestamp": now(),
            "key": key[:_LONGEST_ID] or NOBODY,
            "agent_id": agent_id[:_LONGEST_ID],
            "act": act,
            "target": target[:_LONGEST_TARGET],
            "outcome": outcome[:_LONGEST_OUTCOME],
        }
        self.posting.add(noted, (act, key, agent_id, target, outcome))
