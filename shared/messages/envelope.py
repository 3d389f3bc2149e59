"""What every message is made of: ids, moments and shapes, the event base class, and what a wrong field is told."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

import uuid_utils
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import Rejected, invalid
from shared.messages.json_text import encode, rfc3339

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
