"""Switchyard's own commands as tools of a bot: which it has, and when it may use them; no I/O."""

from dataclasses import dataclass
from typing import Literal

from shared.auth import Caller
from shared.messages import COMMANDS

SERVER = "switchyard"
PREFIX = f"mcp__{SERVER}__"
# How often one turn may use tools: a model that goes round in a circle comes to an end.
MAX_CALLS = 50
# Commands that are no tools, whoever lists them.
_NEVER = {
    "approve": "no bot may decide what bots may do",
    "deny": "no bot may decide what bots may do",
    "batch": "it would run commands that are not listed",
    "create_key": "a conversation is no place for a secret",
}
Right = Literal["use", "ask", "refuse"]

REFUSED = "You may not use {tool} here. Do without it, and say so if that matters."
REFUSED_OUTSIDE = (
    "You may not use {tool} in this conversation: something in it came from outside, and may not be what your "
    "operator wants. Do without it, and say so if that matters."
)
ONE_AT_A_TIME = "Another tool of this message waits to be allowed. Ask for {tool} again once that is decided."
TOO_MANY = f"You have used tools {MAX_CALLS} times for this answer. Answer with what you have."
OVER = "This answer is over."
UNKNOWN_TRUST = "It can't be told just now whether you may use {tool}. Do without it, and say so if that matters."


@dataclass(frozen=True, slots=True)
class Rights:
    """The tools of a bot: its lists, as `switchyard.toml` has them."""

    allowed: frozenset[str]
    untrusted: frozenset[str]
    ask: frozenset[str]

    @property
    def offered(self) -> tuple[str, ...]:
        """Every tool that it may use at some time, in the registry's order."""
        return tuple(name for name in COMMANDS if name in self.allowed | self.untrusted | self.ask)

    def to(self, tool: str, *, untrusted: bool) -> Right:
        """What the bot may do with a tool; `untrusted`: something of the conversation came from outside."""
        if tool in self.ask:
            return "ask"
        # What it may do among strangers it may do among friends.
        enough = self.untrusted if untrusted else self.allowed | self.untrusted
        return "use" if tool in enough else "refuse"

    def caller(self, bot_id: str, tool: str) -> Caller:
        """As whom the bot runs a command: what only admins may is for tools that somebody allows each time."""
        scopes = {"read", "publish", "agent", *(("admin",) if tool in self.ask else ())}
        return Caller(f"bot {bot_id}", frozenset(scopes))


def fault_of(tool: str, *, asked: bool) -> str | None:
    """Why a command can't be a tool; None: it can. `asked`: somebody allows it each time."""
    spec = COMMANDS.get(tool)
    if spec is None or not spec.public:
        return f"there is no command {tool!r}"
    if tool in _NEVER:
        return f"{tool} can't be a tool: {_NEVER[tool]}"
    if spec.scope == "admin" and not asked:
        return f"{tool} is for admins: it can only stand in ask_tools, where somebody allows it each time"
    return None
