"""A command's data as the text that is sent: numbers and the order of members stay as they were typed."""

from collections.abc import Mapping
from typing import Any

import msgspec


def json_value(text: str, where: str) -> msgspec.Raw:
    """JSON as it was typed, checked. Raises ValueError in words that name `where`."""
    try:
        # As `Raw` a number may be of any size.
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"{where}: this is not JSON ({error}): {text[:60]}") from None
    return msgspec.Raw(text.encode())


def members(text: str, where: str) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, each as it was typed. Raises ValueError in words that name `where`."""
    try:
        return msgspec.json.decode(json_value(text, where), type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise ValueError(f'{where}: a JSON object is expected, like {{"key": "value"}}') from None


def data_of(members: Mapping[str, Any]) -> bytes:
    """The JSON object of these members. Raises ValueError when a text is not UTF-8."""
    try:
        return msgspec.json.encode(members)
    except UnicodeEncodeError as error:
        raise ValueError(f"this is not UTF-8: {error.object!r}") from None
