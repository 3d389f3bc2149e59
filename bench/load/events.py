"""Synthetic events of a chosen size that carry the moment they were sent."""

from __future__ import annotations

import itertools
import secrets

# The sink looks for this mark and reads the 19 digits behind it: nanoseconds of CLOCK_MONOTONIC,
# which every process on the machine shares.
MARK = b"sent_ns="
DIGITS = 19

SESSION = "bench"
ROUTING_KEY = f"memory.{SESSION}.updated"

_TEMPLATE = (
    b'{"type":"memory_update","message_id":"01900000-0000-7000-%s-%012d",'
    b'"timestamp":"2026-01-01T00:00:00.000000Z","sender_agent_id":"bench","session_id":"bench",'
    b'"priority":"normal","hops":0,"trust":"trusted","session_seq":1,'
    b'"exchange":{"content":"sent_ns=%019d %s"}}'
)
_PROCESS = secrets.token_hex(2).encode()
_numbers = itertools.count(1)


def event(sent_ns: int, size: int = 300) -> bytes:
    """One event of exactly `size` bytes (at least 282), stamped with `sent_ns`, with a message id of its own."""
    text = _TEMPLATE % (_PROCESS, next(_numbers), sent_ns, b"")
    return text[:-3] + b"x" * (size - len(text)) + text[-3:]
