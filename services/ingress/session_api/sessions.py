"""Routes of sessions, and lists and figures of them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.ingress.session_api.documents import reading, writing
from services.ingress.session_api.door import SessionDoor

SessionId = Annotated[str, Path(max_length=255)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=4_000)]
Moment = Annotated[str | None, Query(description="RFC 3339, with its offset", max_length=64)]


def add_routes(routes: APIRouter, door: SessionDoor) -> None:
    """Add them to a router."""

    @routes.post(
        "/api/sessions",
        operation_id="session_api_create_session",
        summary="Open a session",
        response_class=Response,
        **writing("create_session"),
    )
    async def create_session(request: Request) -> Response:
        return await door.send(request, "create_session")

    @routes.get(
        "/api/sessions/{session_id:path}",
        operation_id="session_api_get_session",
        summary="One session with its status and counts",
        response_class=Response,
        **reading("get_session"),
    )
    async def get_session(request: Request, session_id: SessionId) -> Response:
        return await door.ask(request, "get_session", session_id=session_id)

    @routes.get(
        "/api/query/recent",
        operation_id="session_api_recent_sessions",
        summary="Sessions, the most recently active first",
        response_class=Response,
        **reading("list_sessions"),
    )
    async def recent_sessions(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
        return await door.ask(request, "list_sessions", limit=limit, cursor=cursor)

    @routes.get(
        "/api/query/active",
        operation_id="session_api_active_sessions",
        summary="Active sessions, the most recently active first",
        response_class=Response,
        **reading("list_sessions"),
    )
    async def active_sessions(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
        return await door.ask(request, "list_sessions", status="active", limit=limit, cursor=cursor)

    @routes.get(
        "/api/query/stats",
        operation_id="session_api_stats",
        summary="Sessions by status and by day, actions per minute and the mean duration",
        response_class=Response,
        **reading("session_stats"),
    )
    async def stats(request: Request, since: Moment = None, until: Moment = None) -> Response:
        return await door.ask(request, "session_stats", since=since, until=until)
