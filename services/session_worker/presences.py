"""What events tell of who is there; pure."""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.bus.tail import StreamEvent


class _Presence(msgspec.Struct):
    type: str
    agent_id: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
    status: str


_PRESENCE = msgspec.json.Decoder(_Presence)


def told_of(events: Iterable[StreamEvent], base: int) -> dict[str, tuple[int, bytes] | None]:
    """What these events, in their order, tell last of each agent: its event with its cursor; None: it is offline."""
    told: dict[str, tuple[int, bytes] | None] = {}
    for event in events:
        if not (event.routing_key.startswith("agent.") and event.routing_key.endswith(".presence")):
            continue
        try:
            presence = _PRESENCE.decode(event.body)
        except (msgspec.MsgspecError, RecursionError):
            continue
        if presence.type == "agent_presence":
            told[presence.agent_id] = None if presence.status == "offline" else (base + event.offset, event.body)
    return told
