"""The API as a ChatGPT Action: OpenAPI within what Actions take.

Actions know no headers of their own, at most 30 operations, short descriptions and answers within 45 s. So this
describes the commands a chat asks for most, each with its data as the body, and `run_command` for the rest.
"""

from typing import Any

from services.ingress.schemas import (
    ACCEPTED_SCHEMA,
    PROBLEM_SCHEMA,
    REFERENCE,
    SECURITY_SCHEMES,
    data_schema,
    gather_definitions,
    json_response,
    problem_response,
    result_members,
)
from shared.messages import COMMANDS, CommandSpec
from shared.messages.tools import LITERAL, untitled

MAX_OPERATIONS = 30
MAX_DESCRIPTION = 300
AREAS = ("session", "memory", "task")
# Within the 45 s an Action waits.
_WAIT_SECONDS = 40
_DESCRIPTION = (
    "Sessions, memories and tasks that AI agents and people share. Begin with list_sessions or create_session."
)


def actions(server_url: str, version: str) -> dict[str, Any]:
    """The document for one server, which must be reachable over HTTPS when ChatGPT is to use it."""
    chosen, rest = chosen_commands()
    schemas: dict[str, Any] = {"Problem": PROBLEM_SCHEMA, "Accepted": ACCEPTED_SCHEMA}
    paths = {f"/api/commands/{spec.name}": {"post": _command(spec, schemas)} for spec in chosen}
    paths["/api/commands"] = {"post": _any_command(rest)}
    paths["/api/commands/{message_id}"] = {"get": _status()}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Switchyard", "description": _DESCRIPTION, "version": version},
        "servers": [{"url": server_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"bearer": SECURITY_SCHEMES["bearer"]}},
    }
    gather_definitions(document["paths"], schemas)
    for name in list(schemas):
        gather_definitions(schemas[name], schemas)
    document["paths"] = _simplified(untitled(document["paths"]))
    document["components"]["schemas"] = _simplified(untitled(schemas))
    return document


def chosen_commands() -> tuple[list[CommandSpec], list[CommandSpec]]:
    """The commands with an operation of their own, and those that are only reached through `run_command`.

    Chosen are commands about sessions, memories and tasks that need the scope `read` or `publish` and destroy nothing:
    those that read, then those that create, then those that change what is in a session, then the rest, each in the
    registry's order, until two places are left for the two general operations.
    """
    public = [spec for spec in COMMANDS.values() if spec.public and spec.scope != "admin"]
    fitting = [
        spec for spec in public if spec.area in AREAS and spec.scope in ("read", "publish") and not spec.destructive
    ]
    fitting.sort(key=lambda spec: (not spec.reads, not spec.creates, not spec.needs_session))
    chosen = fitting[: MAX_OPERATIONS - 2]
    return chosen, [spec for spec in public if spec not in chosen]


def _command(spec: CommandSpec, schemas: dict[str, Any]) -> dict[str, Any]:
    data, result = spec.data.__name__, f"{spec.data.__name__}Result"
    schemas[data] = data_schema(spec)
    schemas[result] = result_members(spec)
    done = json_response("done", {"$ref": REFERENCE.format(model=result)})
    answers = {"201" if spec.creates else "200": done}
    if not spec.reads:
        answers["202"] = json_response("kept, not done yet", {"$ref": REFERENCE.format(model="Accepted")})
    return {
        "operationId": spec.name,
        "summary": spec.summary,
        # Without it ChatGPT asks the user before each call.
        "x-openai-isConsequential": not spec.reads,
        "requestBody": _body({"$ref": REFERENCE.format(model=data)}, spec.example),
        "responses": {**answers, "default": problem_response("refused; `code` and `detail` say why")},
    }


def _any_command(rest: list[CommandSpec]) -> dict[str, Any]:
    names = ", ".join(spec.name for spec in rest)
    schema = {
        "type": "object",
        "required": ["command", "data"],
        "properties": {
            "command": {"type": "string", "enum": [spec.name for spec in rest], "description": "the command's name"},
            "data": {"type": "object", "additionalProperties": True, "description": "the command's fields"},
            "message_id": {"type": "string", "description": "the same again happens only once"},
            "wait_s": {"type": "number", "minimum": 0, "maximum": _WAIT_SECONDS, "description": "wait for the reply"},
        },
    }
    example = {"command": rest[0].name, "data": rest[0].example} if rest else {}
    return {
        "operationId": "run_command",
        "summary": "Run a command that has no operation of its own",
        "description": f"Such as {names}",
        "x-openai-isConsequential": True,
        "requestBody": _body(schema, example),
        "responses": {
            "200": json_response("done", {"type": "object"}),
            "201": json_response("done, and something was created", {"type": "object"}),
            "202": json_response("kept, not done yet", {"$ref": REFERENCE.format(model="Accepted")}),
            "default": problem_response("refused; `code` and `detail` say why"),
        },
    }


def _status() -> dict[str, Any]:
    return {
        "operationId": "get_command",
        "summary": "What became of a command that was kept but not done yet",
        "x-openai-isConsequential": False,
        "parameters": [
            {
                "name": "message_id",
                "in": "path",
                "required": True,
                "description": "the message_id of the answer",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": json_response(
                "its status",
                {
                    "type": "object",
                    "properties": {
                        "status": {"type": "string", "enum": ["pending", "done", "failed"]},
                        "result": {"type": "object"},
                        "error": {"type": "object"},
                    },
                },
            ),
            "default": problem_response("refused; `code` and `detail` say why"),
        },
    }


def _body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _simplified(node: Any) -> Any:
    """A copy with descriptions cut to what Actions take, and with what their importer insists on."""
    if isinstance(node, list):
        return [_simplified(value) for value in node]
    if not isinstance(node, dict):
        return node
    # Examples and constants are data, whatever they look like.
    copy = {name: value if name in LITERAL else _simplified(value) for name, value in node.items()}
    for name in ("description", "summary"):
        if isinstance(text := copy.get(name), str) and len(text) > MAX_DESCRIPTION:
            copy[name] = f"{text[: MAX_DESCRIPTION - 1]}…"
    if copy.get("type") == "object":
        copy.setdefault("properties", {})
    return copy
