"""What OpenAPI says of the session API's routes: the schemas of the commands, respelled."""

from typing import Any

from services.ingress.schemas import (
    SECURED,
    accepted_response,
    body_schema,
    data_schema,
    json_response,
    problem_response,
    result_schema,
)
from shared.messages import spec_of
from shared.messages.envelope import Model
from shared.messages.state import Goal, SpawnedAgent
from shared.spelling import camel


def _part(model: type[Model]) -> dict[str, Any]:
    """A goal or an agent as it stands in a state: its own names respelled, and not the session's id."""
    properties = model.model_json_schema()["properties"]
    members = {camel(name): schema for name, schema in properties.items() if name != "session_id"}
    return {"type": "object", "properties": members, "required": list(members)}


def respelled(model: type[Model]) -> dict[str, Any]:
    """A noun that stands within another, in camelCase."""
    schema = model.model_json_schema()
    members = {camel(name): member for name, member in schema["properties"].items()}
    return {"type": "object", "description": schema["description"], "properties": members, "required": list(members)}


ETAG: dict[str, Any] = {"ETag": {"description": "the version of the state", "schema": {"type": "string"}}}
_STATE: dict[str, Any] = {
    "type": "object",
    "description": "the session's own members stand between its id and its goals and agents",
    "required": ["sessionId", "goals", "agents"],
    "properties": {
        "sessionId": {"type": "string"},
        "goals": {"type": "array", "items": _part(Goal)},
        "agents": {"type": "array", "items": _part(SpawnedAgent)},
    },
    "additionalProperties": True,
}


def reading(name: str) -> dict[str, Any]:
    """The arguments of a route that asks a command."""
    return {"responses": {200: _flat(name)}, "openapi_extra": SECURED}


def writing(name: str, path: tuple[str, ...] = (), rest: str | None = None) -> dict[str, Any]:
    """The arguments of a route that sends a command; `path`: the fields that stand in it, `rest` as in the door."""
    status = 201 if spec_of(name).creates else 200
    return {
        "status_code": status,
        "responses": {status: _flat(name), 202: accepted_response()},
        "openapi_extra": {**SECURED, **_body(name, path, rest)},
    }


def state_reading() -> dict[str, Any]:
    """The arguments of the route that reads a state."""
    headers = [_precondition("If-None-Match", "the tags the client has: 304 when one is the state's")]
    return {
        "responses": {200: _state(), 304: {"description": "the client has it", "headers": ETAG}},
        "openapi_extra": {**SECURED, "parameters": headers},
    }


def state_writing() -> dict[str, Any]:
    """The arguments of the route that patches a state."""
    patch = data_schema(spec_of("update_state"))["properties"]["patch"]
    media = {"schema": patch, "example": spec_of("update_state").example["patch"]}
    body = {"content": {"application/json": media, "application/merge-patch+json": media}, "required": True}
    headers = [_precondition("If-Match", "the tags the state may have: 412 when it has none of them")]
    return {
        "responses": {
            200: _state(),
            202: accepted_response(),
            412: problem_response("the state has another version than `If-Match` allows"),
        },
        "openapi_extra": {**SECURED, "requestBody": body, "parameters": headers},
    }


def _flat(name: str) -> dict[str, Any]:
    """A result's schema; that of one noun has the noun's members too, as the answer has."""
    documented = result_schema(name, camel)
    schema = documented["content"]["application/json"]["schema"]
    (noun, *others) = schema["properties"].values()
    if not others and "properties" in noun:
        schema["properties"] = {**noun["properties"], **schema["properties"]}
        schema["$defs"] = noun.get("$defs", {})
    return documented


def _body(name: str, path: tuple[str, ...], rest: str | None) -> dict[str, Any]:
    documented = body_schema(name, camel)
    schema = documented["requestBody"]["content"]["application/json"]["schema"]
    for field in path:
        schema["properties"].pop(camel(field))
    schema["required"] = [field for field in schema.get("required", []) if field in schema["properties"]]
    documented["requestBody"]["required"] = bool(schema["required"])
    if rest is not None:
        schema["additionalProperties"] = True
        schema["description"] = f"{schema.get('description', '')} Members not named here are kept in `{rest}`.".strip()
    return documented


def _state() -> dict[str, Any]:
    schema = {
        **_STATE,
        "properties": {**_STATE["properties"], "state": _STATE},
        "required": [*_STATE["required"], "state"],
    }
    return {**json_response("the state, flat and under its name", schema), "headers": ETAG}


def _precondition(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
