"""Commands: their fields, the registry that knows them all, and the message they travel in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import Rejected, invalid
from shared.messages.envelope import MAX_HOPS, Id, Model, Priority, Scope, Trust, invalid_fields, now
from shared.messages.json_text import MAX_WRAPPED_DEPTH, JsonText, check_json, encode, slices


class CommandData(Model):
    """The fields of one command, under `data`. Its class name in snake_case is the command's name."""

    # Whether commands about one `room_id` and `bot_id` keep their order: see shared/messages/partitions.py.
    partitioned: ClassVar[bool] = False

    @property
    def session_ids(self) -> Sequence[str]:
        """Every session this command is about."""
        session_id = getattr(self, "session_id", None)
        return () if session_id is None else (session_id,)

    @property
    def read_session_ids(self) -> Sequence[str]:
        """Sessions it is not about, but takes something over from: who may not work in them may not ask for it."""
        return ()

    @property
    def further_scope(self) -> Scope | None:
        """What a key needs besides the command's own scope, because of what is asked for."""
        return None

    @property
    def count_within(self) -> int:
        """How many commands these fields hold: only a batch's do."""
        return 0

    def read_within(self, text: bytes) -> None:
        """Check the commands that these fields, of which `text` is the JSON, hold: only a batch's do."""


class CommandEnvelope(BaseModel):
    """The message `{"type": "command", "command", "data", …}`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: Literal["command"]
    message_id: Id
    command: str
    timestamp: str = Field(default_factory=now)
    sender_agent_id: Id = "anonymous"
    session_id: Id | None = None
    sidebar_id: Id | None = None
    priority: Annotated[Priority, BeforeValidator(lambda given: "critical" if given == "urgent" else given)] = "normal"
    correlation_id: Id | None = None
    hops: int = Field(default=0, ge=0)
    trust: Trust = "trusted"
    # The name of the key or token the command came in by; stamped by the door, never taken from a caller's word.
    caller: Id | None = None
    # Whether that key may do everything; stamped by the door as well.
    by_admin: bool = False
    # Where the reply is to be sent as well, once there is one.
    callback_url: Annotated[str, StringConstraints(max_length=2_000)] | None = None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One row of the command registry: a command, its fields, and what its reply holds."""

    name: str
    area: str
    data: type[CommandData]
    # The result's members, for the documents: name → type.
    result: dict[str, Any]
    reads: bool
    creates: bool
    # Whether the doors offer it; what is not public is the project's own affair.
    public: bool
    # What a key needs to run it.
    scope: Scope
    # `data` as somebody might send it, for the documents and the tools.
    example: dict[str, Any]
    # Whether the command's session must exist and be open before its handler runs.
    needs_session: bool
    # Hints for the tools: whether it takes away what can't be had back, whether doing it again changes nothing more.
    destructive: bool
    idempotent: bool
    # Whether its reply may hold what is for its sender and admins alone.
    confidential: bool
    verbatim: frozenset[str]

    @property
    def routing_key(self) -> str:
        """Where the command is published on the commands exchange: `<area>.<command>`."""
        return f"{self.area}.{self.name}"

    @property
    def partitioned(self) -> bool:
        """Whether it is better published to a partition: see shared/messages/partitions.py."""
        return self.data.partitioned

    @property
    def brings_records(self) -> bool:
        """Whether its data holds records of an export, each as large as a whole command was."""
        return self.name.startswith("import_")

    @property
    def summary(self) -> str:
        """The first line of the command's documentation."""
        return (self.data.__doc__ or "").strip().split("\n")[0]


@dataclass(frozen=True, slots=True)
class Command:
    """A decoded command: the envelope's fields, and `data` as its own class."""

    spec: CommandSpec
    message_id: str
    data: Any
    sender_agent_id: str
    timestamp: str
    priority: Priority
    correlation_id: str | None
    hops: int
    trust: Trust
    # The text of `data`, to tell a repetition from another command under the same id.
    data_text: bytes
    # W3C trace context it travelled with; empty when it had none.
    traceparent: str = ""
    caller: str | None = None
    callback_url: str | None = None
    by_admin: bool = False

    @property
    def session_id(self) -> str | None:
        """The session this command is about, if any."""
        return getattr(self.data, "session_id", None)

    @property
    def session_ids(self) -> Sequence[str]:
        """Every session this command is about; those of a batch are the ones of its commands."""
        named: Sequence[str] = self.data.session_ids
        return named


COMMANDS: dict[str, CommandSpec] = {}
ALIASES: dict[str, str] = {"append_conversation": "conversation_chunk"}


def spec_of(name: str) -> CommandSpec:
    """The registry's row of a command or an alias of it. Raises `Rejected("invalid")` when there is none."""
    spec = COMMANDS.get(ALIASES.get(name, name))
    if spec is None:
        raise invalid(f"there is no command {name!r}; /docs lists those there are", command=name)
    return spec


def validate_data(spec: CommandSpec, document: dict[str, Any], text: bytes) -> Any:
    """Check a command's `data`, given decoded and as text. Raises `Rejected("invalid")` naming each wrong field."""
    if spec.verbatim and not spec.verbatim.isdisjoint(document):
        raw = slices(text)
        document = {**document, **{name: JsonText(raw[name]) for name in spec.verbatim & document.keys()}}
    try:
        data = spec.data.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error, f"`data` of {spec.name}") from None
    data.read_within(text)
    return data


def decode_command(body: bytes, traceparent: str = "") -> Command:
    """Decode a command as it travels on the bus, with the trace context of its header.

    Raises `Rejected`: `invalid` with the fault named, or `loop`.
    """
    document = check_json(body, MAX_WRAPPED_DEPTH)
    if not isinstance(document, dict):
        raise invalid("a message is a JSON object")
    try:
        envelope = CommandEnvelope.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error, "the command") from None
    spec = spec_of(envelope.command)
    if envelope.hops >= MAX_HOPS:
        raise Rejected("loop", f"refused at {envelope.hops} hops: commands and events cause each other in a circle")
    text = slices(body)["data"]
    return Command(
        spec=spec,
        message_id=envelope.message_id,
        data=validate_data(spec, envelope.data, text),
        sender_agent_id=envelope.sender_agent_id,
        timestamp=envelope.timestamp,
        priority=envelope.priority,
        correlation_id=envelope.correlation_id,
        hops=envelope.hops,
        trust=envelope.trust,
        data_text=text,
        traceparent=traceparent,
        caller=envelope.caller,
        callback_url=envelope.callback_url,
        by_admin=envelope.by_admin,
    )


def encode_command(
    name: str,
    data: JsonText | dict[str, Any],
    *,
    message_id: str,
    sender_agent_id: str,
    priority: Priority = "normal",
    correlation_id: str | None = None,
    hops: int = 0,
    trust: Trust = "trusted",
    caller: str | None = None,
    callback_url: str | None = None,
    by_admin: bool = False,
) -> bytes:
    """A command as it travels on the bus; `data` given as text goes out unchanged."""
    message: dict[str, Any] = {
        "type": "command",
        "message_id": message_id,
        "command": name,
        "timestamp": now(),
        "sender_agent_id": sender_agent_id,
        "priority": priority,
        "hops": hops,
        "trust": trust,
    }
    if correlation_id is not None:
        message["correlation_id"] = correlation_id
    if caller is not None:
        message["caller"] = caller
    if by_admin:
        message["by_admin"] = True
    if callback_url is not None:
        message["callback_url"] = callback_url
    message["data"] = data
    return encode(message)
