"""What an attempt does with tools: which it has used, and what was decided about those it asked for; no I/O."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import uuid_utils

from services.claude_worker.tools.offered import PREFIX
from services.claude_worker.turns import Held
from shared.messages import JsonText, encode
from shared.messages.chat import ApprovalStatus
from shared.messages.envelope import Trust
from shared.messages.json_text import same_for_all

_CALLS = uuid_utils.UUID("7a4b8c64-0f0d-5d07-9c3e-52b1a6e0c9d4")


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a tool that was asked for, by Claude's id of that use."""

    tool_use_id: str
    status: ApprovalStatus
    decided_by: str | None
    note: str | None

    def told(self, tool: str) -> str:
        """What the bot hears when it may not."""
        why = f": {self.note}" if self.note else "."
        if self.status == "denied":
            return f"{self.decided_by or 'Somebody'} has refused you {tool}{why}"
        return f"Nobody has allowed you {tool} in time. Do without it, and say so if that matters."


@dataclass(frozen=True, slots=True)
class Asked:
    """A tool that a bot has to be allowed to use; `calls`: how often the turn had used which until then."""

    tool_use_id: str
    tool: str
    input: JsonText
    calls: Mapping[str, int]


@dataclass(slots=True)
class Errand:
    """The attempt that a client is at, as far as its tools are concerned."""

    held: Held
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    # How often each tool was used with each input; goes on where the turn was parked.
    calls: Counter[str] = field(default_factory=Counter)
    # The use that waits to be allowed: there is at most one, since Claude Code keeps no more.
    waiting: str | None = None
    # Whether anything of the conversation came from outside, as it was found last.
    untrusted: bool = True

    @property
    def trust(self) -> Trust:
        """How far what it does may be trusted."""
        return "untrusted" if self.untrusted else self.held.trust

    def call_id(self, tool: str, text: bytes) -> str:
        """The message id of this use of a tool with this input, given as JSON: the same when an attempt is repeated."""
        used = f"{tool}\n{same_for_all(text).decode()}"
        key = str(uuid_utils.uuid5(_CALLS, used))
        self.calls[key] += 1
        return str(uuid_utils.uuid5(_CALLS, f"{self.held.turn.turn_id}\n{key}\n{self.calls[key]}"))

    def asked(self, tool_use_id: str, name: str, given: Mapping[str, Any]) -> Asked:
        """What the attempt has come to a stop for."""
        return Asked(tool_use_id, name.removeprefix(PREFIX), JsonText(encode(dict(given))), dict(self.calls))
