"""What a client may send: one class for each frame type, and how its text becomes one of them."""

from typing import Annotated, Any, Literal

import msgspec

from shared.errors import Rejected, invalid
from shared.messages import check_json

# As `Id` of the messages; 255 bytes is what AMQP takes as a message id.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+\Z")]


class Request(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """The fields every frame may carry; who sends it is known from the connection, whatever the frame says."""

    message_id: Name | None = None
    timestamp: str | None = None
    sender_agent_id: Name | None = None
    session_id: Name | None = None
    sidebar_id: Name | None = None
    priority: Literal["critical", "urgent", "high", "normal", "low", "background"] = "normal"
    correlation_id: Name | None = None
    hops: int = 0
    trust: Literal["trusted", "untrusted"] = "trusted"
    traceparent: str | None = None


class Authenticate(Request, tag="authenticate"):
    """Shows the token, when it could not be shown with the handshake."""

    token: str


class Subscribe(Request, tag="subscribe"):
    """Asks for topics: from now on, or from after a cursor, or from the last matching event kept."""

    topics: list[str]
    mode: str = "everything"
    filters: dict[str, Any] | None = None
    peripheral_awareness: bool | None = None
    since: int | Literal["last"] | None = None


class Unsubscribe(Request, tag="unsubscribe"):
    """Gives topics back; without any, all of them."""

    topics: list[str] | None = None


class SetMode(Request, tag="set_mode"):
    """Chooses which of the matching events come."""

    mode: str


class Infodump(Request, tag="infodump"):
    """Asks once for past events: those after a cursor, of a topic."""

    since: int | Literal["last"] | None = None
    pattern: str | None = None


class CommandRequest(Request, tag="command"):
    """A command for the workers; `data` is passed on as it was written."""

    command: str
    data: dict[str, Any]


class Ack(Request, tag="ack"):
    """Says that an event was taken care of."""


class Ping(Request, tag="ping"):
    """Asks for a sign of life."""


KINDS: dict[str, type[Request]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (Authenticate, Subscribe, Unsubscribe, SetMode, Infodump, CommandRequest, Ack, Ping)
}


def read_request(text: bytes) -> Request:
    """The frame a client sent. Raises `Rejected("invalid")`, with the frame's `message_id`, if any, in its details."""
    document = check_json(text)
    if not isinstance(document, dict):
        raise invalid("a frame is a JSON object with a `type`")
    kind = document.get("type")
    try:
        if not isinstance(kind, str) or kind not in KINDS:
            raise invalid(f"there is no frame type {kind!r}; there are: {', '.join(KINDS)}")
        try:
            return msgspec.convert(document, KINDS[kind], strict=True)
        except msgspec.ValidationError as fault:
            raise invalid(f"`{kind}` is not valid: {str(fault)[:1].lower()}{str(fault)[1:]}") from None
    except Rejected as rejected:
        if isinstance(named := document.get("message_id"), str):
            rejected.details["message_id"] = named
        raise
