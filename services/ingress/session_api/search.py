"""The route of the search."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.ingress.session_api.documents import reading
from services.ingress.session_api.door import SessionDoor
from services.ingress.session_api.sessions import Cursor, Limit
from shared.errors import invalid

Kinds = Annotated[
    list[str] | None,
    Query(description="chunk, memory, artifact; several with commas or by giving it again", max_length=20),
]


def add_routes(routes: APIRouter, door: SessionDoor) -> None:
    """Add it to a router."""

    @routes.get(
        "/api/search",
        operation_id="session_api_search",
        summary="Full-text search over conversation chunks, memories and artifacts, the best first",
        response_class=Response,
        **reading("search"),
    )
    async def search(
        request: Request,
        q: Annotated[str, Query(min_length=1, max_length=1000)],
        session_id: Annotated[str | None, Query(alias="sessionId", min_length=1, max_length=255)] = None,
        respelled: Annotated[
            str | None, Query(alias="session_id", min_length=1, max_length=255, include_in_schema=False)
        ] = None,
        kinds: Kinds = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        if session_id is not None and respelled is not None:
            raise invalid("'sessionId' is there twice, in two spellings", field="sessionId")
        session_id = session_id or respelled
        named = None if kinds is None else [kind.strip() for each in kinds for kind in each.split(",")]
        return await door.ask(request, "search", q=q, session_id=session_id, kinds=named, limit=limit, cursor=cursor)
