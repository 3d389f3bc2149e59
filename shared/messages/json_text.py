"""JSON that passes through unchanged: checked once, kept as the sender wrote it, spliced and never re-encoded.

Decoding `1e5`, `2**70` or `{"b":…,"a":…}` and encoding it again would change the text. So a field of arbitrary JSON is
held as a `JsonText`, the very bytes that came in, and `encode` splices those bytes into what goes out.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any, Self

import msgspec
import orjson
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from shared.errors import Rejected, invalid

MAX_DEPTH = 64
# What was accepted at that depth travels within commands, events, replies and pages of them.
MAX_WRAPPED_DEPTH = MAX_DEPTH + 8

_NOT_MARKS = bytes(set(range(256)) - set(b'{}[]"'))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
# An escape that hides what follows it, or a NUL, which PostgreSQL can't keep.
_ESCAPE = re.compile(rb'\\(?:["\\]|u0000)')
_STRING = re.compile(rb'"[^"]*"')


def check_json(body: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Decode a document that came from outside.

    Raises `Rejected("invalid")` naming the fault: not UTF-8, not JSON (NaN and lone surrogates included), a NUL
    character, or nested deeper than `max_depth` levels.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise _too_deep(max_depth) from None
        # What the decoder says of brackets that are never closed.
        fault = "unexpected end of data" if "allocate memory" in str(error) else error
        raise invalid(f"the body is not JSON: {fault}", reason="json") from None
    # Looking for one byte is thirty times faster than for two, and most documents have no backslash at all.
    if b"\\" in body and _ESCAPE.search(body):
        # Backslashes go in pairs from the left, so that what is left of them escapes the character behind it.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
        if b"\\u0000" in body:
            raise invalid("the body holds a NUL character (\\u0000), which can't be stored", reason="nul")
    if _deeper_than(body, max_depth):
        raise _too_deep(max_depth)
    return document


def _too_deep(max_depth: int) -> Rejected:
    return invalid(f"the body is nested deeper than {max_depth} levels", reason="depth")


def _deeper_than(body: bytes, limit: int) -> bool:
    """Whether a valid document is nested deeper than `limit`: from its text, at a fifth of the cost of walking it.

    Only quotes (escaped ones are gone already) and brackets are kept, all brackets alike. Whether a bracket stands in a
    string is told by the number of quotes before it, which two quotes side by side don't change. Each pass takes away
    the innermost level.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    marks = body.translate(_ONE_KIND, _NOT_MARKS).replace(b'""', b"")
    if b'"' in marks:
        marks = _STRING.sub(b"", marks)
    for _ in range(limit):
        if not marks:
            return False
        marks = marks.replace(b"[]", b"")
    return bool(marks)


class JsonText:
    """A JSON value as text, exactly as its sender wrote it."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text

    @classmethod
    def of(cls, value: Any) -> Self:
        """The text of a Python value."""
        return cls(encode(value))

    def value(self) -> Any:
        """The Python value of the text; numbers beyond 64 bits become floats."""
        return orjson.loads(self.text)

    def __str__(self) -> str:
        return self.text.decode()

    def __repr__(self) -> str:
        return f"JsonText({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonText) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.of(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.value()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"description": "any JSON value; kept exactly as written"}


def slices(body: bytes) -> dict[str, bytes]:
    """The members of a checked JSON object, each as the text its sender wrote."""
    return {name: bytes(raw) for name, raw in _MEMBERS.decode(body).items()}


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def same_for_all(text: bytes) -> bytes:
    """A checked document in the one spelling that all of its spellings share, to tell it from another.

    Spaces, escapes, the order of members and zeros behind a number tell nothing: each client writes them as it likes.
    """
    # Numbers of up to 15 digits are told apart by a double, longer ones by their digits only.
    document = _EXACT.decode(text.decode()) if _LONG_NUMBER.search(text) else orjson.loads(text)
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _digits(number: str) -> str:
    # No string of a checked document holds a NUL.
    return "\0" + number


_LONG_NUMBER = re.compile(rb"[0-9][0-9.]{15}")
_EXACT = json.JSONDecoder(parse_int=_digits, parse_float=_digits)


def rfc3339(moment: datetime) -> str:
    """An aware moment as RFC 3339 text: in UTC, with microseconds and `Z`."""
    # orjson writes it several times as fast as Python, but leaves out microseconds that are zero.
    text = orjson.dumps(moment, option=orjson.OPT_UTC_Z)[1:-1].decode()
    if text[-1] != "Z":
        return rfc3339(moment.astimezone(UTC))
    return text if moment.microsecond else f"{text[:-1]}.000000Z"


def encode(value: Any) -> bytes:
    """Compact JSON of messages, models, moments and plain values; every `JsonText` in it goes out as it came in."""
    return orjson.dumps(value, default=_encode_other, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _encode_other(value: Any) -> Any:
    if isinstance(value, JsonText):
        return orjson.Fragment(value.text)
    if isinstance(value, BaseModel):
        return value.__dict__
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
