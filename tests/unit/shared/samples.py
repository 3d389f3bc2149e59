"""One message of every class with every field filled, always the same: what the golden files are made from."""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import orjson
from pydantic import BaseModel

from shared.messages import COMMANDS, EVENTS, JsonText, encode_command
from shared.messages.batch import BatchedCommand
from shared.messages.envelope import Event

MOMENT = "2026-01-02T03:04:05.000006Z"
MESSAGE_ID = "019b0000-0000-7000-8000-000000000001"
# Any JSON at all, so also numbers and an order of keys that decoding and encoding would change.
ANY_JSON = JsonText(b'{"z":1e2,"a":[null,"\\u00e9",1180591620717411303424]}')

_ENVELOPE: dict[str, Any] = {
    "message_id": MESSAGE_ID,
    "timestamp": MOMENT,
    "sender_agent_id": "ada",
    "session_id": "s1",
    "sidebar_id": "sb1",
    "priority": "high",
    "correlation_id": "019b0000-0000-7000-8000-000000000000",
    "session_seq": 7,
    "hops": 2,
    "trust": "untrusted",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
_MOMENTS = {
    "created",
    "updated",
    "last_activity",
    "lease_expires",
    "started",
    "completed",
    "received",
    "redriven",
    "timestamp",
    "since",
    "until",
    "run_at",
    "due",
    "last_heartbeat",
    "at",
    "heard",
    "ended",
    "asked",
    "answered",
}
_TEXTS = {
    "key_hash": "ab" * 32,
    "callback_url": "https://example.org/done",
    "run_id": "0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f51",
    "sha256": "ab" * 32,
    "signal": "SIGTERM",
}


def sample(annotation: Any, name: str) -> Any:
    """A value of an annotated type; text is the field's name, or a moment where the name says so."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _constrained(arguments[0], arguments[1:], name)
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        return sample(next(each for each in arguments if each is not type(None)), name)
    if origin is list:
        return [sample(arguments[0], name)]
    if annotation is JsonText:
        return ANY_JSON
    if annotation is str:
        if name in _TEXTS:
            return _TEXTS[name]
        return MOMENT if name in _MOMENTS or name == "as_of" else f"{name.removesuffix('_id')}-1"
    if annotation is bool:
        return True
    if annotation in (int, float):
        return annotation(3)
    if annotation is Any:
        return {"any": "JSON"}
    if annotation is BatchedCommand:
        return BatchedCommand(command="get_session", data={"session_id": "s1"})
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation(**fields(annotation))
    raise TypeError(f"no sample of {annotation!r} for {name!r}: teach tests/unit/shared/samples.py")


def fields(model: type[BaseModel]) -> dict[str, Any]:
    """A value for every field of a model."""
    made = {}
    for name, field in model.model_fields.items():
        made[name] = _constrained(field.annotation, field.metadata, name)
    return made


def _constrained(annotation: Any, constraints: Any, name: str) -> Any:
    value = sample(annotation, name)
    if isinstance(value, int):
        for each in constraints:
            ge = each.ge if isinstance(each, annotated_types.Ge) else getattr(each, "ge", None)
            value = max(value, ge) if isinstance(ge, int) else value
    if isinstance(value, float):
        for each in constraints:
            le = each.le if isinstance(each, annotated_types.Le) else getattr(each, "le", None)
            value = min(value, float(le)) if le is not None else value
    return value


def command_text(name: str) -> bytes:
    """A whole command as it travels."""
    return encode_command(
        name, fields(COMMANDS[name].data), message_id=MESSAGE_ID, sender_agent_id="ada", priority="high",
        correlation_id=_ENVELOPE["correlation_id"], hops=2, trust="untrusted",
    )  # fmt: skip


def event(name: str) -> Event:
    """An event with every field filled, stamped as the worker runtime does it."""
    kind = EVENTS[name]
    return kind(**{**fields(kind), **_ENVELOPE, "type": name})


def pretty(text: bytes) -> str:
    """JSON text laid out over lines, its members in their order and its numbers as they were written."""
    out: list[str] = []
    depth, quoted, escaped = 0, False, False
    for character in text.decode():
        if quoted:
            out.append(character)
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character in "{[":
            depth += 1
            out.append(f"{character}\n{'  ' * depth}")
        elif character in "}]":
            depth -= 1
            out.append(f"\n{'  ' * depth}{character}")
        else:
            quoted = character == '"'
            out.append({",": f",\n{'  ' * depth}", ":": ": "}.get(character, character))
    pretty_text = "".join(out) + "\n"
    assert orjson.loads(pretty_text) == orjson.loads(text)
    return pretty_text
