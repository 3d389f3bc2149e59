"""The tools of the MCP door: one for each public command, written from the registry."""

from functools import cache
from typing import Any

import mcp_types as mcp

from services.ingress.schemas import result_schema_alone
from shared.auth import Caller
from shared.errors import Rejected
from shared.messages import COMMANDS, CommandSpec, encode
from shared.messages.batch import Batch
from shared.messages.tools import description, input_schema, untitled


def tools_for(caller: Caller) -> list[mcp.Tool]:
    """The tools whose commands the caller may run, in the registry's order."""
    return [_tool(name) for name, spec in COMMANDS.items() if spec.public and _may_run(caller, spec)]


def _may_run(caller: Caller, spec: CommandSpec) -> bool:
    """Whether there is any data with which the caller may run the command."""
    try:
        caller.require(spec.scope)
    except Rejected:
        return False
    return caller.sessions is None or "session_id" in spec.data.model_fields or spec.data is Batch


@cache
def _tool(name: str) -> mcp.Tool:
    spec = COMMANDS[name]
    return mcp.Tool(
        name=spec.name,
        description=description(spec),
        input_schema=input_schema(spec),
        output_schema=untitled(result_schema_alone(spec)),
        annotations=mcp.ToolAnnotations(
            read_only_hint=spec.reads,
            destructive_hint=spec.destructive,
            idempotent_hint=spec.idempotent,
            # All of it happens within this system.
            open_world_hint=False,
        ),
    )


def refusal(error: dict[str, Any]) -> mcp.CallToolResult:
    """A reply's `error` as a tool's: as text for the model, and as structured content `{"error": …}`."""
    return mcp.CallToolResult(
        content=[mcp.TextContent(text=encode(error).decode())], structured_content={"error": error}, is_error=True
    )
