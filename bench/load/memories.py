"""The `store_memory` commands the whole path is offered."""

from __future__ import annotations

import json
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


def template(prefix: str) -> str:
    """The data of `store_memory` for commands.lua, with keys of this prefix."""
    data = {
        "session_id": "bench-@SESSION@",
        "type": "fact",
        "key": f"{prefix}-@NUMBER@",
        "content": f"sent_ns=@MOMENT@ {WORDS}",
        "tags": ["bench"],
    }
    return json.dumps(data)


def wrk_environment(api_key: str, prefer: str, template: str, command: str = "store_memory") -> dict[str, str]:
    """What commands.lua wants to know."""
    return {
        "BENCH_COMMAND": command,
        "BENCH_TEMPLATE": template,
        "BENCH_API_KEY": api_key,
        "BENCH_PREFER": prefer,
        "BENCH_SESSIONS": str(SESSIONS),
    }
