"""Who looks at the gateway's state, how much of it they see, and which part of it they ask for."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from services.ws_gateway.door.access import Identity
from shared.auth import Caller
from shared.errors import invalid

MOST_CONNECTIONS = 100


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The `data` of a `get_state` that names no session."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_CONNECTIONS)] = MOST_CONNECTIONS
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks. Who is no admin sees its own connections: those of its agent, or those let in by its key."""

    agent_id: str | None
    caller: str
    is_admin: bool

    @classmethod
    def of_identity(cls, identity: Identity) -> "Viewer":
        """A client of the gateway."""
        return cls(identity.agent_id, identity.caller.name, identity.is_admin)

    @classmethod
    def of_key(cls, caller: Caller) -> "Viewer":
        """Who shows an API key."""
        return cls(None, caller.name, "admin" in caller.scopes)

    def owns(self, identity: Identity) -> bool:
        """Whether a connection is its own."""
        return identity.caller.name == self.caller if self.agent_id is None else identity.agent_id == self.agent_id


def read_asked(data: dict[str, Any]) -> Asked:
    """The fields of the question. Raises `Rejected("invalid")`."""
    try:
        return msgspec.convert(data, Asked)
    except msgspec.ValidationError as fault:
        raise invalid(
            f"without a `session_id`, `get_state` is about the gateway: {fault}; it takes `limit` (1 to"
            f" {MOST_CONNECTIONS}) and `cursor`"
        ) from None


def position(cursor: str | None) -> tuple[int, str]:
    """The health and the id of the connection before the page. Raises `Rejected("invalid")`."""
    if cursor is None:
        return -1, ""
    health, dot, connection_id = cursor.partition(".")
    if not (dot and health.isascii() and health.isdecimal() and len(health) <= 3):
        raise invalid(f"{cursor[:80]!r} is no cursor of connections; it is the `next` of an earlier answer")
    return int(health), connection_id
