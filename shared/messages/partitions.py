"""Commands that must be handled in their order: each goes to one of the partitions of its area.

Whoever publishes a command computes its partition; a program that does not may publish it with the plain key.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from shared.messages.commands import CommandSpec
from shared.messages.json_text import JsonText

# So many at any time: another number needs queues that are empty.
PARTITIONS = 16


def partition_of(room_id: str, bot_id: str) -> int:
    """The partition of what is said to a bot in a room; the same for every publisher, whatever its language."""
    return hashlib.blake2b(f"{room_id}\n{bot_id}".encode(errors="replace"), digest_size=1).digest()[0] % PARTITIONS


def partition_word(partition: int) -> str:
    """How a partition is written in queues and routing keys: `00` to `15`."""
    return f"{partition:02}"


def routing_key_of(spec: CommandSpec, data: bytes | JsonText | Mapping[str, Any]) -> str:
    """Where a command with this data, given decoded or as text, is published: `<area>.<command>`, and its partition.

    What names no room and bot goes by the plain key, to whoever tells its sender what is wrong with it.
    """
    if not spec.partitioned:
        return spec.routing_key
    try:
        fields = data if isinstance(data, Mapping) else orjson.loads(data.text if isinstance(data, JsonText) else data)
        room_id, bot_id = fields["room_id"], fields["bot_id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return spec.routing_key
    if not (isinstance(room_id, str) and isinstance(bot_id, str)):
        return spec.routing_key
    return f"{spec.routing_key}.{partition_word(partition_of(room_id, bot_id))}"
