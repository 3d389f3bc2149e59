"""The OpenAPI document: FastAPI's own routes, and the hot ones, written from the command registry."""

import re
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from services.ingress.actions import actions
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
    gather_definitions,
    json_response,
    problem_response,
    result_members,
)
from shared import __version__
from shared.messages import COMMANDS, CommandSpec, encode

_SUMMARY_LENGTH = 300
_NAME = r"^[^\x00-\x1f\x7f]+$"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
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


def add_openapi(api: FastAPI, public_url: str = "") -> None:
    """Serve the document at `/openapi.json`, and the one for ChatGPT; call when every route is there.

    `public_url` is where others find this service, when the request's own idea of it is not to be trusted.
    """
    text = encode(describe(api))

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(text, media_type="application/json")

    @api.get("/openapi-actions.json", include_in_schema=False)
    async def openapi_actions(request: Request) -> Response:
        server = public_url.rstrip("/") or server_url(request)
        return Response(encode(actions(server, api.version)), media_type="application/json")


def server_url(request: Request) -> str:
    """The address a request was sent to, as it or the proxy before us says."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", request.url.scheme).lower()
    host = headers.get("x-forwarded-host", headers.get("host", ""))
    if scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return "http://127.0.0.1"
    return f"{scheme}://{host}"


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
    paths["/hooks/claude"] = {"post": _claude_hook()}
    paths["/mcp"] = {"post": _mcp()}
    for spec in COMMANDS.values():
        if spec.public:
            paths[f"/api/commands/{spec.name}"] = {"post": _command(spec, schemas)}
    for path, item in described["paths"].items():
        paths.setdefault(path.replace(":path}", "}"), {}).update(item)
    for item in paths.values():
        for operation in item.values():
            operation["responses"].setdefault("431", {"description": "the head of the request is over 32 KB"})
    described["paths"] = paths
    gather_definitions(described, schemas)
    return described


def _command(spec: CommandSpec, schemas: dict[str, Any]) -> dict[str, Any]:
    data, result = f"{spec.data.__name__}", f"{spec.data.__name__}Result"
    schemas[data] = shape = data_schema(spec)
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
            # Nothing is taken for an object without members.
            "required": bool(shape.get("required")),
            "content": {
                "application/json": {"schema": {"$ref": REFERENCE.format(model=data)}, "example": spec.example}
            },
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
            "content": {
                "application/json": {
                    "schema": {"$ref": REFERENCE.format(model="CommandForm")},
                    "example": {"command": "get_session", "data": COMMANDS["get_session"].example, "wait_s": 5},
                }
            },
        },
        "responses": {
            "200": json_response("done", {"type": "object"}),
            "201": json_response("done, and something was created", {"type": "object"}),
            "202": accepted_response(),
            **_errors(),
        },
        **SECURED,
    }


def _mcp() -> dict[str, Any]:
    message = json_response("a JSON-RPC response", {"type": "object"})
    return {
        "tags": ["commands"],
        "operationId": "mcp",
        "summary": "Model Context Protocol (streamable HTTP, JSON answers): a tool for each command",
        "description": "For MCP clients, see docs/mcp.md. What is refused before it is read is a problem document.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
                }
            },
        },
        "responses": {
            "200": message,
            "202": {"description": "a notification was taken"},
            "400": {**message, "description": "not JSON-RPC"},
            "404": {**message, "description": "no such method, in protocols from 2026 on"},
            "406": {**message, "description": "the client does not accept JSON"},
            "415": problem_response("the content type is not application/json"),
            **{str(status): ERRORS[status] for status in ERRORS if status in (401, 403, 413, 422, 429, 503)},
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


def _claude_hook() -> dict[str, Any]:
    return {
        "tags": ["webhooks"],
        "operationId": "receive_claude_hook",
        "summary": "A hook of Claude Code, as it is; becomes an action of the session named after its session_id",
        "description": "See docs/hooks.md. The answer is always `{}`, so that it never steers Claude Code.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["session_id", "hook_event_name"],
                        "properties": {
                            "session_id": {"type": "string", "maxLength": 255, "pattern": _NAME},
                            "hook_event_name": {"type": "string", "maxLength": 100, "pattern": _NAME},
                            # Whatever else it has is taken as it is.
                            "tool_use_id": {"description": "tells which response belongs to which action"},
                        },
                    },
                    "example": {"session_id": "demo", "hook_event_name": "Stop", "cwd": "/home/ada/shop"},
                }
            },
        },
        "responses": {"200": json_response("kept", {"type": "object", "maxProperties": 0}), **_errors()},
        **SECURED,
    }


def _errors() -> dict[str, Any]:
    return {str(status): answer for status, answer in ERRORS.items()}
