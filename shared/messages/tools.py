"""Commands as tools of a model: what it is told of them, the same over MCP and within a bot."""

from typing import Any

from shared.messages.commands import CommandSpec
from shared.messages.json_text import encode

# Members of a schema that hold data, whatever it looks like.
LITERAL = ("example", "examples", "default", "const", "enum")


def description(spec: CommandSpec) -> str:
    """What a model is told of a command: its documentation, and an example of its arguments."""
    lines = [line.strip() for line in (spec.data.__doc__ or "").strip().splitlines()]
    return "\n".join([*lines, "", f"Example: {encode(spec.example).decode()}"])


def input_schema(spec: CommandSpec) -> dict[str, Any]:
    """The JSON Schema of a command's arguments, complete in itself."""
    schema: dict[str, Any] = untitled(spec.data.model_json_schema())
    return schema


def untitled(node: Any) -> Any:
    """A copy of a schema without titles: pydantic makes them of the names, and to a model they are only words more."""
    if isinstance(node, list):
        return [untitled(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        name: value if name in LITERAL else untitled(value)
        for name, value in node.items()
        if not (name == "title" and isinstance(value, str))
    }
