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
    # Take the seat of the connection this was given to.
    resume_token: str | None = None


class Focus(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client concentrates on: an event that has one of these topics, tags or words is within its focus."""

    topics: list[str] = []
    tags: list[str] = []
    words: list[str] = []


class Taste(Request, kw_only=True):
    """What a client may say of how it wants its events, with `subscribe` and with `set_mode`; None: as before."""

    filters: Focus | None = None
    # Hears now and then what passes by outside of its focus.
    peripheral_awareness: bool | None = None
    # What to do while the connection is slow, which types always come at once, and which may wait; None: nothing.
    slow_connection_preference: Literal["summaries", "full_delayed", "critical_only"] | None = None
    required_data: list[str] | None = None
    batchable_data: list[str] | None = None
    # Large events may come compressed (zlib), as binary messages.
    deflate: bool | None = None


Mode = Literal["everything", "focused", "relevant"]


class Subscribe(Taste, tag="subscribe"):
    """Asks for topics: from now on, or from after a cursor, or from the last matching event kept."""

    topics: list[str]
    # None: as before, at first `everything`.
    mode: Mode | None = None
    since: int | Literal["last"] | None = None
    # Begin with little, and more of it by and by.
    warmup: bool = False
    # Continue the connection this token was given to.
    resume_token: str | None = None


class Unsubscribe(Request, tag="unsubscribe"):
    """Gives topics back; without any, all of them."""

    topics: list[str] | None = None


class SetMode(Taste, tag="set_mode"):
    """Chooses which of the matching events come."""

    mode: Mode


class Infodump(Request, tag="infodump"):
    """Asks once for past events: those after a cursor, up to another, of a topic."""

    since: int | Literal["last"] | None = None
    until: int | None = None
    pattern: str | None = None


class ReplayRequest(Request, tag="replay"):
    """Asks for a session's events again, at the pace they had times `speed` (0: as fast as they can be read)."""

    speed: float = 1.0
    # A `session_seq`, or a moment (RFC 3339).
    from_: int | str | None = msgspec.field(default=None, name="from")


class ReplayControl(Request, tag="replay_control"):
    """What a replay of this connection is to do; `speed` and `from` belong to the actions `speed` and `seek`."""

    replay_id: Name
    action: Literal["pause", "resume", "seek", "speed", "stop"]
    speed: float | None = None
    from_: int | str | None = msgspec.field(default=None, name="from")


class Resume(Request, tag="resume"):
    """Continues an earlier connection with what it had subscribed to, from after a cursor."""

    resume_token: str
    since: int | Literal["last"] | None = None


class Presence(Request, tag="agent_presence"):
    """Says what the agent does; what is left out stays as it was."""

    agent_id: Name | None = None
    status: Literal["online", "working", "idle"] | None = None
    current_context: str | None = None
    active_sidebars: list[str] | None = None
    specialties: list[str] | None = None


class CommandRequest(Request, tag="command"):
    """A command for the workers; `data` is passed on as it was written."""

    command: str
    data: dict[str, Any]


class Ack(Request, tag="ack"):
    """Says that an event was taken care of."""


class Ping(Request, tag="ping"):
    """Asks for a sign of life."""


_ALL = (
    *(Authenticate, Subscribe, Unsubscribe, SetMode, Infodump, ReplayRequest, ReplayControl, Resume, Presence),
    *(CommandRequest, Ack, Ping),
)
KINDS: dict[str, type[Request]] = {str(kind.__struct_config__.tag): kind for kind in _ALL}


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
