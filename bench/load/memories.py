"""The `store_memory` commands the whole path is offered."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

SESSIONS = 50
WORDS = (
    "The build of the main branch is green again after the cache was emptied, and the release goes out on Thursday "
    "unless the review finds a reason to wait; ask the data team about the nightly import."
)


def session(number: int) -> str:
    """The id of one of the sessions the memories are spread over."""
    return f"bench-{number % SESSIONS:02d}"


def numbered(prefix: str) -> Callable[[int], bytes]:
    """A maker of commands, each under a key of its own and stamped with the moment (ns) it is given."""
    count = 0

    def command(sent_ns: int) -> bytes:
        nonlocal count
        count += 1
        data = {
            "session_id": session(count),
            "type": "fact",
            "key": f"{prefix}-{count:08d}",
            "content": f"sent_ns={sent_ns:019d} {WORDS}",
            "tags": ["bench"],
        }
        return json.dumps(data).encode()

    return command


def wrk_environment(api_key: str, prefer: str) -> dict[str, str]:
    """What commands.lua wants to know; new keys each time."""
    return {
        "BENCH_PREFIX": secrets.token_hex(4),
        "BENCH_API_KEY": api_key,
        "BENCH_PREFER": prefer,
        "BENCH_SESSIONS": str(SESSIONS),
    }
