"""Campfire's messages: which delivery one is, and its bot's key taken out before it goes on.

Campfire sends the key with which a bot may answer as a part of `room.path`
(`/rooms/<room>/<bot key>/messages`). Only the sealed way of the answer has it (`chat_doors`).
"""

import re
from typing import Any

import orjson

from shared.errors import invalid

MASK = "bot-key"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_ROOM_PATH = re.compile(r"/rooms/[^/]+/(?P<key>[^/@][^/]*)")


def delivery_id(document: Any) -> str | None:
    """The id of a message, unique for a bot: Campfire numbers its messages. None when there is none."""
    message = document.get("message") if isinstance(document, dict) else None
    number = message.get("id") if isinstance(message, dict) else None
    return str(number) if isinstance(number, int | str) and str(number) else None


def without_bot_key(body: bytes, document: Any) -> bytes:
    """The body with the bot's key replaced in every text it stands in; every other byte stays as it is."""
    keys = [_stands_in(key) for key in _keys(document)]
    return _STRING.sub(lambda literal: _masked(literal[0], keys), body) if keys else body


def _masked(literal: bytes, keys: list[re.Pattern[str]]) -> bytes:
    # Read as JSON, so that a key written with escapes (`\\u0039-…`) is found too.
    text = masked = orjson.loads(literal)
    for key in keys:
        masked = key.sub(MASK, masked)
    return literal if masked == text else orjson.dumps(masked)


def _stands_in(key: str) -> re.Pattern[str]:
    # A key so short that it could be a number or a word is one only as a part of a path.
    exact = re.escape(key)
    return re.compile(exact if len(key) >= 8 else rf"(?<=/){exact}(?=/|$)")


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
