"""The OpenAPI document: FastAPI's own routes, and the hot ones, written from the command registry."""

from typing import Any, cast

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from services.ingress.commands import CommandForm
from services.ingress.schemas import (
    ACCEPTED_SCHEMA,
    ERRORS,
    PROBLEM_SCHEMA,
    REFERENCE,
    SECURED,
    SECURITY_SCHEMES,
    accepted_response,
    data_schema,
    json_response,
    problem_response,
    result_members,
)
from shared import __version__
from shared.messages import COMMANDS, CommandSpec, encode

_SUMMARY_LENGTH = 300
_WAITING: list[dict[str, Any]] = [
    {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N` seconds for the reply (0-60, default 10), or `respond-async`",
        "schema": {"type": "string"},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "becomes the `message_id`: the same again gives the same reply, and happens once",
        "schema": {"type": "string", "maxLength": 255},
    },
    {
        "name": "X-Agent-Id",
        "in": "header",
        "description": "who the command is from; the key's name when it is left out",
        "schema": {"type": "string", "maxLength": 255},
    },
]


def document(version: str | None = None) -> dict[str, Any]:
    """The whole OpenAPI document; needs neither broker nor settings."""
    from services.ingress.api import make_api
    from services.ingress.pages import Readiness, health_router

    # The routes are only described, never called, so the doors behind them need not exist.
    nobody = cast(Any, None)
    api = make_api(nobody, nobody, nobody, gateway_url="ws://127.0.0.1:8001/ws", version=version or __version__)
    api.include_router(health_router(lambda: Readiness(True, {}), bytes, ""))
    return describe(api)


def add_openapi(api: FastAPI) -> None:
    """Serve the document at `/openapi.json`; call when every route is there."""
    text = encode(describe(api))

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(text, media_type="application/json")


def describe(api: FastAPI) -> dict[str, Any]:
    """The document of an application with the hot routes added."""
    described = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
    components = described.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    # Parameters are checked by FastAPI, but refused in our own form.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= {"Problem": PROBLEM_SCHEMA, "Accepted": ACCEPTED_SCHEMA}
    components["securitySchemes"] = SECURITY_SCHEMES
    paths: dict[str, Any] = {"/webhook": {"post": _root_webhook()}, "/webhook/{source}": {"post": _source_webhook()}}
    paths["/api/commands"] = {"post": _command_form(schemas)}
    for spec in COMMANDS.values():
        if spec.public:
            paths[f"/api/commands/{spec.name}"] = {"post": _command(spec, schemas)}
    for path, item in described["paths"].items():
        paths.setdefault(path.replace(":path}", "}"), {}).update(item)
    described["paths"] = paths
    _gather_definitions(described, schemas)
    return described


def _command(spec: CommandSpec, schemas: dict[str, Any]) -> dict[str, Any]:
    data, result = f"{spec.data.__name__}", f"{spec.data.__name__}Result"
    schemas[data] = data_schema(spec)
    schemas[result] = result_members(spec)
    done = json_response("done", {"$ref": REFERENCE.format(model=result)})
    answers: dict[str, Any] = {"201" if spec.creates else "200": done}
    if not spec.reads:
        answers["202"] = accepted_response()
    return {
        "tags": [f"{spec.area} commands"],
        "operationId": spec.name,
        "summary": spec.summary[:_SUMMARY_LENGTH],
        "parameters": _WAITING if not spec.reads else [_WAITING[0], _WAITING[2]],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model=data)}}},
        },
        "responses": answers | _errors(),
        **SECURED,
    }


def _command_form(schemas: dict[str, Any]) -> dict[str, Any]:
    schemas["CommandForm"] = CommandForm.model_json_schema(ref_template=REFERENCE)
    return {
        "tags": ["commands"],
        "operationId": "run_command",
        "summary": "Run any command; the whole message is the body, for callers that can't set headers",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model="CommandForm")}}},
        },
        "responses": {
            "200": json_response("done", {"type": "object"}),
            "201": json_response("done, and something was created", {"type": "object"}),
            "202": accepted_response(),
            **_errors(),
        },
        **SECURED,
    }


def _root_webhook() -> dict[str, Any]:
    return {
        **_webhook("receive_webhook"),
        "summary": "A GitHub webhook (signed), or any JSON with an API key",
        "description": (
            "With GitHub's headers this is the source `github`. Else an API key is needed, and the body decides: "
            '`{"type": "collaborative_session_command", "command", "data"}` runs that command and replies as '
            "`POST /api/commands` does; `llm_conversation_insight` becomes an event of that type; anything else is a "
            "webhook of the source `api`."
        ),
        "security": [{}, {"api_key": []}, {"bearer": []}],
    }


def _source_webhook() -> dict[str, Any]:
    return {
        **_webhook("receive_webhook_of_source"),
        "summary": "A webhook of a source declared in switchyard.toml, which proves itself by its own scheme",
        "parameters": [{"name": "source", "in": "path", "required": True, "schema": {"type": "string"}}],
    }


def _webhook(operation_id: str) -> dict[str, Any]:
    return {
        "tags": ["webhooks"],
        "operationId": operation_id,
        "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
        "responses": {
            "200": json_response(
                "verified, but its source does not want this event", {"$ref": REFERENCE.format(model="Accepted")}
            ),
            "202": json_response("kept", {"$ref": REFERENCE.format(model="Accepted")}),
            "204": {"description": "the answer to every Campfire message"},
            **_errors(),
            "401": problem_response("the signature or the key is missing or wrong"),
        },
    }


def _errors() -> dict[str, Any]:
    return {str(status): answer for status, answer in ERRORS.items()}


def _gather_definitions(node: Any, schemas: dict[str, Any]) -> None:
    """Move every `$defs`, which pydantic leaves inside each schema, to `components/schemas`."""
    if isinstance(node, dict):
        found = node.pop("$defs", {})
        for name, schema in found.items():
            schemas.setdefault(name, schema)
            _gather_definitions(schemas[name], schemas)
        for value in list(node.values()):
            _gather_definitions(value, schemas)
    elif isinstance(node, list):
        for value in node:
            _gather_definitions(value, schemas)
