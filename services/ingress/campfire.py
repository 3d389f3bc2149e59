"""Campfire's messages: which delivery one is, and its bot's key taken out before it goes on.

Campfire sends the key with which a bot may answer as a part of `room.path`
(`/rooms/<room>/<bot key>/messages`). Answers are not given yet, so the key is not kept anywhere.
"""

import re
from typing import Any

from shared.errors import invalid
from shared.messages import check_json, encode

MASK = "bot-key"
_ROOM_PATH = re.compile(r"/rooms/[^/]+/(?P<key>[^/@][^/]*)")


def delivery_id(document: Any) -> str | None:
    """The id of a message, unique for a bot: Campfire numbers its messages. None when there is none."""
    message = document.get("message") if isinstance(document, dict) else None
    number = message.get("id") if isinstance(message, dict) else None
    return str(number) if isinstance(number, int | str) and str(number) else None


def without_bot_key(body: bytes, document: Any) -> bytes:
    """The body with the bot's key replaced wherever it stands; every other byte stays as it is."""
    keys = _keys(document)
    for key in keys:
        body = _stands_in(key).sub(MASK, body.decode()).encode()
    if not keys:
        return body
    # A key written with escapes (`\\u0039-…`) is not found in the bytes; then the document is written anew.
    masked = check_json(body)
    if any(_stands_in(key).search(text) for text in _texts(masked) for key in keys):
        return encode(_replaced(masked, keys))
    return body


def _stands_in(key: str) -> re.Pattern[str]:
    # A key so short that it could be a number or a word is one only as a part of a path.
    exact = re.escape(key)
    return re.compile(exact if len(key) >= 8 else rf"(?<=/){exact}(?=\\?/|\"|$)")


def _keys(document: Any) -> list[str]:
    if not isinstance(document, dict):
        raise invalid("a Campfire message is a JSON object")
    keys: set[str] = set()
    for part in ("room", "message"):
        thing = document.get(part)
        path = thing.get("path") if isinstance(thing, dict) else None
        if isinstance(path, str):
            keys.update(found["key"] for found in _ROOM_PATH.finditer(path))
    return sorted(keys - {MASK}, key=len, reverse=True)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in (name, *_texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []


def _replaced(value: Any, keys: list[str]) -> Any:
    if isinstance(value, str):
        for key in keys:
            value = _stands_in(key).sub(MASK, value)
        return value
    if isinstance(value, dict):
        return {_replaced(name, keys): _replaced(item, keys) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, keys) for item in value]
    return value
