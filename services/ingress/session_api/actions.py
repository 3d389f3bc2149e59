"""Routes of actions and responses."""

from typing import Literal

from fastapi import APIRouter, Request, Response

from services.ingress.session_api.documents import reading, writing
from services.ingress.session_api.door import SessionDoor
from services.ingress.session_api.sessions import Cursor, Limit, SessionId


def add_routes(routes: APIRouter, door: SessionDoor) -> None:
    """Add them to a router."""

    @routes.post(
        "/api/actions/{session_id:path}/responses",
        operation_id="session_api_log_response",
        summary="Note down what came back in a session",
        response_class=Response,
        **writing("log_response", ("session_id",), rest="details"),
    )
    async def log_response(request: Request, session_id: SessionId) -> Response:
        return await door.send(request, "log_response", rest="details", session_id=session_id)

    @routes.post(
        "/api/actions/{session_id:path}",
        operation_id="session_api_log_action",
        summary="Note down what was done in a session",
        response_class=Response,
        **writing("log_action", ("session_id",), rest="details"),
    )
    async def log_action(request: Request, session_id: SessionId) -> Response:
        return await door.send(request, "log_action", rest="details", session_id=session_id)

    @routes.get(
        "/api/actions/{session_id:path}",
        operation_id="session_api_get_actions",
        summary="A session's actions and responses in their order",
        response_class=Response,
        **reading("get_actions"),
    )
    async def get_actions(
        request: Request,
        session_id: SessionId,
        kind: Literal["action", "response"] | None = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        return await door.ask(request, "get_actions", session_id=session_id, kind=kind, limit=limit, cursor=cursor)
