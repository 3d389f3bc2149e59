"""Commands that follow from a command: they go out with its events, from the same outbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uuid_utils

from shared.bus.publications import Publication
from shared.bus.topology import COMMANDS
from shared.logs import get_logger
from shared.messages import Command, JsonText, encode_command, spec_of
from shared.messages.envelope import MAX_HOPS, Priority
from shared.messages.partitions import routing_key_of

_FOLLOW_UPS = uuid_utils.UUID("0f6f2c1c-6d0e-5c52-9f0e-5a3c5be0f3a7")
log = get_logger()


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A writing command that a handler wants to be run once its own command is committed."""

    command: str
    data: dict[str, Any] | JsonText
    sender_agent_id: str = "system"
    priority: Priority = "normal"
    # None: one more than those of its own command. 0: no reaction to what came in, but that itself.
    hops: int | None = None
    # The key that it came in by, if it is no more than that; a reaction is nobody's.
    caller: str | None = None


def follow_up_id(cause: str, index: int) -> str:
    """The message id of the follow-up in this place of a command, the same each time (UUIDv5)."""
    return str(uuid_utils.uuid5(_FOLLOW_UPS, f"{cause}\n{index}"))


def commands_of(cause: Command, follow_ups: Sequence[FollowUp]) -> list[Publication]:
    """The follow-ups of a command, ready to be published: one hop further, with its trust and its trace.

    Where that would be a hop too many they are left out, and the log says so: nobody would run them.
    """
    if not follow_ups:
        return []
    if cause.hops + 1 >= MAX_HOPS:
        log.error(
            "follow_ups_not_sent",
            reason=f"a loop: {cause.spec.name} came at {cause.hops} hops",
            commands=[each.command for each in follow_ups],
            message_id=cause.message_id,
        )
        return []
    # Whoever published it, a webhook's text came from outside.
    trust = "untrusted" if cause.spec.area == "webhook" else cause.trust
    sent = []
    for index, each in enumerate(follow_ups):
        message_id = follow_up_id(cause.message_id, index)
        body = encode_command(
            each.command,
            each.data,
            message_id=message_id,
            sender_agent_id=each.sender_agent_id,
            priority=each.priority,
            correlation_id=cause.message_id,
            hops=cause.hops + 1 if each.hops is None else each.hops,
            trust=trust,
            caller=each.caller,
        )
        key = routing_key_of(spec_of(each.command), each.data)
        sent.append(Publication(key, body.decode(), message_id, cause.traceparent, COMMANDS))
    return sent
