"""What changed between two contents, as a JSON Patch (RFC 6902); pure."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Never

import jsonpatch

from shared.messages import JsonText, encode
from shared.messages.memory import DeltaOmitted

# Comparing is done while the session is locked, and lists take the square of their length: so large contents, by their
# bytes and by the commas in them, are not compared. What is left takes a few milliseconds at the most.
MAX_BYTES = 32_768
MAX_COMMAS = 300


class Delta(NamedTuple):
    """The patch, or why there is none."""

    patch: JsonText | None
    omitted: DeltaOmitted | None


FIRST = Delta(None, "first")
FORGOTTEN = Delta(None, "forgotten")


def between(told: str | None, content: str) -> Delta:
    """The patch that makes the content out of the one told of last; `told` None: that was too large to be read."""
    if told is None or any(len(text) > MAX_BYTES or text.count(",") > MAX_COMMAS for text in (told, content)):
        return Delta(None, "too_large")
    try:
        before, after = _exactly(told), _exactly(content)
    except _InexactError:
        return Delta(None, "inexact")
    if not (isinstance(before, dict | list) and type(before) is type(after)):
        # A patch of anything else holds the whole content.
        return Delta(None, "not_smaller")
    patch = encode(jsonpatch.make_patch(before, after).patch)
    return Delta(JsonText(patch), None) if len(patch) < len(content.encode()) else Delta(None, "not_smaller")


class _InexactError(ValueError):
    """A number that a patch would write with other digits."""


def _exactly(text: str) -> Any:
    return json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_refuse)


def _float(digits: str) -> float:
    number = float(digits)
    try:
        exact = Decimal(repr(number)) == Decimal(digits)
    except InvalidOperation:
        exact = False
    return number if exact else _refuse(digits)


def _int(digits: str) -> int:
    number = int(digits) if len(digits) <= 20 else 2**64
    return number if -(2**63) <= number < 2**64 else _refuse(digits)


def _refuse(digits: str) -> Never:
    raise _InexactError(digits)
