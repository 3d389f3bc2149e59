"""What an agent says of itself: the frame `agent_presence`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.ws_gateway.agents.presence import MAX_SIDEBARS
from services.ws_gateway.door.access import Identity
from services.ws_gateway.requests import Presence, Request
from shared.errors import Rejected, invalid

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

MAX_CONTEXT = 500
MAX_SPECIALTIES = 50
MAX_SPECIALTY, MAX_SIDEBAR = 100, 255


def on_presence(client: "Client", identity: Identity, request: Presence) -> None:
    """Tell others what the agent does; it is answered by nothing but the event that others get."""
    if request.agent_id not in (None, identity.agent_id):
        raise Rejected(
            "forbidden", f"this connection speaks for {identity.agent_id!r} alone, not for {request.agent_id!r}"
        )
    identity.caller.require("agent")
    check(request)
    client.gateway.presence.said(identity.agent_id, request)


HANDLERS: dict[type[Request], Callable[["Client", Identity, Any], None]] = {Presence: on_presence}


def check(request: Presence) -> None:
    """Raise `Rejected("invalid")` when something is longer than others should have to read."""
    context = request.current_context
    if context is not None and len(context) > MAX_CONTEXT:
        raise invalid(f"`current_context` has {len(context)} characters; at most {MAX_CONTEXT}")
    _check_list("active_sidebars", request.active_sidebars, MAX_SIDEBARS, MAX_SIDEBAR)
    _check_list("specialties", request.specialties, MAX_SPECIALTIES, MAX_SPECIALTY)


def _check_list(name: str, given: list[str] | None, at_most: int, longest: int) -> None:
    if given is None:
        return
    if len(given) > at_most:
        raise invalid(f"`{name}` names {len(given)}; at most {at_most}")
    for text in given:
        if not 0 < len(text) <= longest:
            raise invalid(f"`{name}` holds one of {len(text)} characters; each has 1 to {longest}")
