"""What every message carries: the envelope, the event base class, and commands as they are decoded from the bus."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

import uuid_utils
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import Rejected, invalid
from shared.messages.json_text import MAX_WRAPPED_DEPTH, JsonText, check_json, encode, rfc3339, slices

MAX_HOPS = 16

Priority = Literal["critical", "high", "normal", "low", "background"]
Trust = Literal["trusted", "untrusted"]
# What a key may do: `publish` writes, `read` reads, `agent` takes and reports work, `admin` does everything.
Scope = Literal["publish", "read", "agent", "admin"]
# An id may be any text a person would write on a label; control characters would garble logs and routing keys.
_NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_NO_CONTROL_CHARACTERS)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]
Label = Annotated[str, StringConstraints(max_length=2_000)]


def new_id() -> str:
    """A UUIDv7 (RFC 9562): sortable by the time it was made."""
    return str(uuid_utils.uuid7())


def now() -> str:
    """This moment as messages write it."""
    return rfc3339(datetime.now(UTC))


class Model(BaseModel):
    """A strict, closed shape: nothing is coerced, an unknown field is an error that names it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def trusted(cls, fields: dict[str, Any]) -> Self:
        """One of fields that are known to be right and whole, as a row of the database is: a tenth of the price."""
        made = cls.__new__(cls)
        set_field = object.__setattr__
        set_field(made, "__dict__", fields)
        set_field(made, "__pydantic_fields_set__", set(fields))
        set_field(made, "__pydantic_extra__", None)
        set_field(made, "__pydantic_private__", None)
        return made


class Event(BaseModel):
    """Something that happened, flat, with the thing it is about whole under its noun.

    A handler makes it with its own fields; the worker runtime stamps the rest (`sender_agent_id` … `session_seq`)
    before the commit.
    """

    model_config = ConfigDict(extra="forbid")
    # Routing key of the event; fields in braces are replaced, each made safe for a topic.
    topic: ClassVar[str]

    type: str
    message_id: str = Field(default_factory=new_id)
    timestamp: str = Field(default_factory=now, json_schema_extra={"format": "date-time"})
    sender_agent_id: str = ""
    session_id: str | None = None
    sidebar_id: str | None = None
    priority: Priority = "normal"
    correlation_id: str | None = None
    session_seq: int | None = None
    hops: int = 0
    trust: Trust = "trusted"
    # W3C trace context of the command that caused it.
    traceparent: str | None = None

    def routing_key(self) -> str:
        """The topic this event is published under, e.g. `memory.s1.updated`."""
        return self.topic.format_map(_TopicWords(self.__dict__))

    def encoded(self) -> bytes:
        """The event as it travels; optional fields of the envelope that are not set are left out."""
        return encode({k: v for k, v in self.__dict__.items() if v is not None or k not in OPTIONAL})


# Members that are left out when they are not set.
OPTIONAL = frozenset({"session_id", "sidebar_id", "correlation_id", "session_seq", "traceparent", "redelivered"})
_UNSAFE_IN_TOPIC = str.maketrans({".": "_", "*": "_", "#": "_", " ": "_"})


def topic_word(identifier: str) -> str:
    """An id as one word of a routing key: a dot, `*`, `#` or a space becomes `_`; cut to fit the 255 bytes of a key."""
    return identifier.translate(_UNSAFE_IN_TOPIC).encode()[:120].decode(errors="ignore")


class _TopicWords(dict[str, Any]):
    def __getitem__(self, name: str) -> str:
        value = super().__getitem__(name)
        return topic_word(str(value)) if value is not None else "none"


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


def invalid_fields(error: ValidationError, where: str) -> Rejected:
    """The `invalid` error for a failed validation: a sentence, and each field with what is wrong with it."""
    fields = [
        {"field": ".".join(map(str, fault["loc"])) or "(whole)", "fault": _in_words(fault), "kind": fault["type"]}
        for fault in error.errors(include_url=False, include_input=False)
    ]
    named = "; ".join(f"{fault['field']}: {fault['fault'][0].lower()}{fault['fault'][1:]}" for fault in fields[:5])
    return invalid(f"{where} is not valid: {named}", fields=fields[:50])


def _in_words(fault: Any) -> str:
    """What is wrong with a field, for a reader who knows neither Python nor patterns."""
    match fault["type"]:
        case "dict_type" | "model_type":
            return "Input should be an object"
        case "string_pattern_mismatch":
            pattern = fault["ctx"]["pattern"]
            return f"String should {PATTERNS.get(pattern, f'match the pattern {pattern}')}"
    message: str = fault["msg"]
    return message


# What a string of each pattern looks like, to end the sentence "String should …".
PATTERNS = {_NO_CONTROL_CHARACTERS: "hold no control characters"}

_DELIVERIES = uuid_utils.UUID("6b0f4f9e-8a44-5b0c-9a53-6a1f0d1f8a52")


def delivery_message_id(source: str, delivery_id: str) -> str:
    """The message id of a webhook delivery: the same for every copy of it (UUIDv5 of source and delivery id)."""
    return str(uuid_utils.uuid5(_DELIVERIES, f"{source}\n{delivery_id}"))


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
