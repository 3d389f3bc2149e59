"""The session API: the paths and camelCase names of an older design, over the same commands."""

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from services.ingress.access import Access
from services.ingress.bodies import LIMIT, BodyReader
from services.ingress.calls import call_of, response_of
from services.ingress.commands import CommandDoor, answer, require_scope
from services.ingress.prefer import wait_of
from services.ingress.schemas import ERRORS, SECURED, accepted_response, body_schema, result_schema
from shared.errors import invalid
from shared.messages import check_json, encode, spec_of
from shared.messages.json_text import JsonText, slices

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=4_000)]

_CAPITAL = re.compile(r"(?<=[a-z0-9])[A-Z]")
_UNDERSCORE = re.compile(r"_([a-z0-9])")


def snake(name: str) -> str:
    """`sessionId` → `session_id`; a name in snake_case stays as it is."""
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)


def camel(name: str) -> str:
    """`session_id` → `sessionId`."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


def snake_members(text: bytes) -> bytes:
    """A checked JSON object with its own member names in snake_case; what the members hold stays as it is.

    Raises `Rejected("invalid")` when a name is there in both spellings.
    """
    members: dict[str, JsonText] = {}
    for name, value in slices(text).items():
        if snake(name) in members:
            raise invalid(f"{name!r} is there twice, in two spellings", fields=[{"field": name, "kind": "duplicate"}])
        members[snake(name)] = JsonText(value)
    return encode(members)


def camel_session(text: bytes) -> JsonText:
    """A session's text with its member names in camelCase."""
    return JsonText(encode({camel(name): JsonText(value) for name, value in slices(text).items()}))


def camel_result(text: bytes) -> bytes:
    """The text of a result that holds a session or a list of them, in camelCase."""
    members: dict[str, Any] = {name: JsonText(value) for name, value in slices(text).items()}
    if "session" in members:
        members["session"] = camel_session(members["session"].text)
    if "sessions" in members:
        members["sessions"] = [camel_session(item) for item in _items(members["sessions"].text)]
    return encode(members)


def _items(text: bytes) -> list[bytes]:
    return [bytes(item) for item in msgspec.json.decode(text, type=list[msgspec.Raw])]


def session_router(commands: CommandDoor, access: Access, bodies: BodyReader) -> APIRouter:
    """The routes of the session API."""
    routes = APIRouter(tags=["session API"], responses=ERRORS)

    async def run(request: Request, name: str, data: bytes) -> Response:
        call = call_of(request)
        spec = spec_of(name)
        caller = access.caller(call.headers)
        require_scope(caller, spec)
        outcome = await commands.perform(call, spec, caller, data, wait=wait_of(call))
        if outcome.result is not None:
            outcome = outcome._replace(result=camel_result(outcome.result))
        return response_of(answer(spec, outcome, call.trace_id))

    @routes.post(
        "/api/sessions",
        status_code=201,
        operation_id="session_api_create_session",
        summary="Open a session",
        response_class=Response,
        responses={201: result_schema("create_session", camel), 202: accepted_response()},
        openapi_extra={**SECURED, **body_schema("create_session", camel)},
    )
    async def create_session(request: Request) -> Response:
        call = call_of(request)
        access.caller(call.headers)
        _, body = await bodies.read(call.receive, call.headers, LIMIT)
        if not isinstance(check_json(body), dict):
            raise invalid("the body is an object")
        return await run(request, "create_session", snake_members(body))

    @routes.get(
        "/api/sessions/{session_id:path}",
        operation_id="session_api_get_session",
        summary="One session with its status and counts",
        response_class=Response,
        responses={200: result_schema("get_session", camel)},
        openapi_extra=SECURED,
    )
    async def get_session(request: Request, session_id: Annotated[str, Path(max_length=255)]) -> Response:
        return await run(request, "get_session", encode({"session_id": session_id}))

    @routes.get(
        "/api/query/recent",
        operation_id="session_api_recent_sessions",
        summary="Sessions, the most recently active first",
        response_class=Response,
        responses={200: result_schema("list_sessions", camel)},
        openapi_extra=SECURED,
    )
    async def recent_sessions(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
        return await run(request, "list_sessions", _page(limit, cursor))

    @routes.get(
        "/api/query/active",
        operation_id="session_api_active_sessions",
        summary="Active sessions, the most recently active first",
        response_class=Response,
        responses={200: result_schema("list_sessions", camel)},
        openapi_extra=SECURED,
    )
    async def active_sessions(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
        return await run(request, "list_sessions", _page(limit, cursor, status="active"))

    return routes


def _page(limit: int, cursor: str | None, **filters: str) -> bytes:
    return encode({"limit": limit, **filters} | ({"cursor": cursor} if cursor else {}))
