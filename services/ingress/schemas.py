"""JSON Schemas for the documentation: of commands, results and problems, all under `components/schemas`."""

from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter

from shared.errors import ERROR_CODES
from shared.messages import CommandSpec, spec_of

REFERENCE = "#/components/schemas/{model}"
_WITHIN = "#/$defs/{model}"
PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "description": "RFC 9457 problem document",
    "required": ["type", "title", "status", "detail", "code", "trace_id"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": list(ERROR_CODES)},
        "trace_id": {"type": "string"},
        "details": {"type": "object", "additionalProperties": True},
    },
}
ACCEPTED_SCHEMA: dict[str, Any] = {
    "title": "Accepted",
    "type": "object",
    "required": ["message_id", "status"],
    "properties": {"message_id": {"type": "string"}, "status": {"type": "string", "enum": ["accepted", "ignored"]}},
}
SECURITY_SCHEMES: dict[str, Any] = {
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "an API key, or an access token from POST /api/login",
    },
}
SECURED: dict[str, Any] = {"security": [{"api_key": []}, {"bearer": []}]}


def problem_response(description: str) -> dict[str, Any]:
    """The documentation of an error answer."""
    return {
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }


# By status; a command can be refused in every one of these ways.
ERRORS: dict[int | str, dict[str, Any]] = {
    401: problem_response("no key, or a wrong one"),
    403: problem_response("the key lacks the scope"),
    404: problem_response("there is no such thing"),
    409: problem_response("the thing's state does not allow it, or a loop"),
    413: problem_response("the body is over the limit"),
    422: problem_response("not JSON, or a field is wrong; `details.fields` names each"),
    429: problem_response("the key's rate is used up; `Retry-After` says when to come again"),
    503: problem_response("neither broker nor spool takes it; `Retry-After` says when to come again"),
    504: problem_response("no answer in time"),
}


def json_response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The documentation of an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def accepted_response() -> dict[str, Any]:
    """The documentation of 202."""
    return {
        **json_response("kept; the reply is not there yet", {"$ref": REFERENCE.format(model="Accepted")}),
        "headers": {"Location": {"description": "where to ask for it", "schema": {"type": "string"}}},
    }


def data_schema(spec: CommandSpec) -> dict[str, Any]:
    """The schema of a command's data, with the schemas it refers to under `$defs`."""
    return spec.data.model_json_schema(ref_template=REFERENCE)


def result_schema_alone(spec: CommandSpec) -> dict[str, Any]:
    """The schema of a command's result, complete in itself."""
    return result_members(spec, _WITHIN)


def result_members(spec: CommandSpec, reference: str = REFERENCE) -> dict[str, Any]:
    """The schema of a command's result, with the schemas it refers to under `$defs`."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, kind in spec.result.items():
        schema = TypeAdapter(kind).json_schema(ref_template=reference, mode="serialization")
        definitions |= schema.pop("$defs", {})
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            definitions[kind.__name__] = schema
            schema = {"$ref": reference.format(model=kind.__name__)}
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": list(properties), "$defs": definitions}


def body_schema(name: str, spell: Callable[[str], str]) -> dict[str, Any]:
    """The request body of a command whose fields are spelled otherwise, written out in place."""
    schema = _respelled(data_schema(spec_of(name)), spell)
    # Nothing is taken for an object without members.
    required = bool(schema.get("required"))
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def result_schema(name: str, spell: Callable[[str], str]) -> dict[str, Any]:
    """The answer of a command whose result's nouns are spelled otherwise, written out in place."""
    spec = spec_of(name)
    properties: dict[str, Any] = {}
    for member, kind in spec.result.items():
        inner = next((arg for arg in get_args(kind) if isinstance(arg, type) and issubclass(arg, BaseModel)), None)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            properties[member] = _respelled(kind.model_json_schema(ref_template=REFERENCE), spell)
        elif inner is not None:
            noun = _respelled(inner.model_json_schema(ref_template=REFERENCE), spell)
            properties[member] = {"type": "array", "items": noun}
        else:
            properties[member] = TypeAdapter(kind).json_schema()
    return json_response(spec.summary, {"type": "object", "properties": properties, "required": list(properties)})


def _respelled(schema: dict[str, Any], spell: Callable[[str], str]) -> dict[str, Any]:
    changed = {**schema, "properties": {spell(name): value for name, value in schema.get("properties", {}).items()}}
    if "required" in schema:
        changed["required"] = [spell(name) for name in schema["required"]]
    return changed


def gather_definitions(node: Any, schemas: dict[str, Any]) -> None:
    """Move every `$defs`, which pydantic leaves inside each schema, to `components/schemas`."""
    if isinstance(node, dict):
        found = node.pop("$defs", {})
        for name, schema in found.items():
            schemas.setdefault(name, schema)
            gather_definitions(schemas[name], schemas)
        for value in list(node.values()):
            gather_definitions(value, schemas)
    elif isinstance(node, list):
        for value in node:
            gather_definitions(value, schemas)
