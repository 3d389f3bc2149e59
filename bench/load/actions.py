"""The `log_action` commands that are offered, one by one and a hundred in a batch."""

from __future__ import annotations

import json
from typing import Any

from bench.load.memories import session

IN_A_BATCH = 100


def action(session_id: str, action_id: str) -> dict[str, Any]:
    """The data of one `log_action`."""
    details = {"tool": "edit_file", "path": "services/ingress/front.py", "lines": 42, "why": "the header was missing"}
    return {"session_id": session_id, "action_id": action_id, "type": "tool_use", "details": details}


def template(prefix: str) -> str:
    """The data of `log_action` for commands.lua, with ids of this prefix."""
    data = action("bench-@SESSION@", f"{prefix}-@NUMBER@")
    data["details"]["sent_ns"] = "@MOMENT@"
    return json.dumps(data)


def batch(prefix: str, number: int, *, wrapped: bool) -> bytes:
    """A batch of actions of one session; `wrapped` as our commands are, each with its name."""
    data = [action(session(number), f"{prefix}-{number:06d}-{n:02d}") for n in range(IN_A_BATCH)]
    commands = [{"command": "log_action", "data": each} for each in data] if wrapped else data
    return json.dumps({"commands": commands}).encode()
