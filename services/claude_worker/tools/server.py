"""The tools of one live client: Switchyard's commands as an MCP server in this process, and the hook that guards it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from claude_agent_sdk import HookMatcher, McpSdkServerConfig, SdkMcpTool, create_sdk_mcp_server
from claude_agent_sdk.types import HookEvent

from services.claude_worker.tools import offered
from services.claude_worker.tools.calls import ToolCalls
from services.claude_worker.tools.errand import Errand
from services.claude_worker.tools.offered import MAX_CALLS, PREFIX, SERVER, Rights
from services.claude_worker.turns import Held
from shared.logs import get_logger
from shared.messages import CommandSpec, spec_of
from shared.messages.tools import description, input_schema

# A client that goes on with a parked turn does so before it is told which it is at.
BEGIN_SECONDS = 10.0
TRUST_SECONDS = 5.0
# Whether anything of the conversation of an attempt came from outside; None: the attempt is over.
IsUntrusted = Callable[[Held], Awaitable[bool | None]]
log = get_logger()


class Tools:
    """What a client's Claude Code may use, and when."""

    def __init__(self, rights: Rights, calls: ToolCalls, is_untrusted: IsUntrusted) -> None:
        self._rights = rights
        self._calls = calls
        self._is_untrusted = is_untrusted
        self._errand: Errand | None = None
        self._begun = asyncio.Event()
        self._used = 0

    def begin(self, errand: Errand) -> None:
        """What is used from now on belongs to this attempt."""
        # A turn that was parked goes on counting.
        self._errand, self._used = errand, sum(errand.calls.values())
        self._begun.set()

    def end(self) -> None:
        """The attempt is over: nothing may be used."""
        self._errand = None
        self._begun.clear()

    @property
    def servers(self) -> dict[str, McpSdkServerConfig]:
        """The server for the SDK; none for a bot without tools."""
        offered = [
            SdkMcpTool(spec.name, *_described(spec.name), handler=partial(self._run, spec))
            for spec in map(spec_of, self._rights.offered)
        ]
        return {SERVER: create_sdk_mcp_server(SERVER, tools=offered)} if offered else {}

    @property
    def hooks(self) -> dict[HookEvent, list[HookMatcher]]:
        """The hook that is asked before anything is used, Claude Code's own tools included."""
        return {"PreToolUse": [HookMatcher(hooks=[self._before])]}

    async def _run(self, spec: CommandSpec, given: dict[str, Any]) -> dict[str, Any]:
        if self._errand is None:
            return _content(offered.OVER, is_error=True)
        result = await self._calls.run(self._errand, self._rights, spec, given)
        return _content(result.text, is_error=result.is_error)

    async def _before(self, asked: Any, tool_use_id: str | None, context: Any) -> Any:
        try:
            decision, reason = await self._decide(str(asked["tool_name"]), str(asked["tool_use_id"]))
        except Exception as error:
            log.exception("tool_not_decided", tool=asked.get("tool_name"))
            decision, reason = "deny", f"It can't be decided whether you may use this: {type(error).__name__}."
        if decision == "deny":
            turn = self._errand and self._errand.held.turn.turn_id
            log.info("tool_denied", turn_id=turn, tool=asked.get("tool_name"), reason=reason)
        said = {"hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": reason}
        return {"hookSpecificOutput": said}

    async def _decide(self, name: str, tool_use_id: str) -> tuple[str, str]:
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                await self._begun.wait()
        except TimeoutError:
            return "deny", offered.OVER
        errand, tool = self._errand, name.removeprefix(PREFIX)
        if errand is None or not name.startswith(PREFIX):
            return "deny", offered.REFUSED.format(tool=name)
        turn = errand.held.turn
        try:
            # Asked each time: somebody else's words may have come in since the last.
            async with asyncio.timeout(TRUST_SECONDS):
                untrusted = await self._is_untrusted(errand.held)
        except Exception as error:  # noqa: BLE001 (whatever it is: who can't be told to be trusted is not)
            log.warning("trust_not_known", turn_id=turn.turn_id, reason=str(error).split("\n")[0])
            return "deny", offered.UNKNOWN_TRUST.format(tool=tool)
        if untrusted is None:
            # Dropped, or another's by now: what is trusted from here on is another conversation.
            return "deny", offered.OVER
        errand.untrusted = untrusted
        return self._judge(errand, tool, tool_use_id)

    def _judge(self, errand: Errand, tool: str, tool_use_id: str) -> tuple[str, str]:
        right = self._rights.to(tool, untrusted=errand.untrusted)
        decided = errand.decisions.get(tool_use_id)
        if right == "refuse":
            refused = offered.REFUSED_OUTSIDE if tool in self._rights.allowed else offered.REFUSED
            return "deny", refused.format(tool=tool)
        if decided is not None and decided.status != "approved":
            return "deny", decided.told(tool)
        self._used += 1
        if self._used > MAX_CALLS:
            return "deny", offered.TOO_MANY
        if right == "use" or decided is not None:
            return "allow", ""
        if errand.waiting is not None:
            return "deny", offered.ONE_AT_A_TIME.format(tool=tool)
        errand.waiting = tool_use_id
        return "defer", ""


@cache
def _described(name: str) -> tuple[str, dict[str, Any]]:
    spec = spec_of(name)
    return description(spec), input_schema(spec)


def _content(text: str, *, is_error: bool) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "is_error": is_error}
