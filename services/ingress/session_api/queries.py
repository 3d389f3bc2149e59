"""Routes of questions about agents' runs: what was found in their output, the sessions they ran in, their figures."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from services.ingress.session_api.documents import reading, respelled
from services.ingress.session_api.door import SessionDoor
from services.ingress.session_api.sessions import Cursor, Limit, Moment
from shared.errors import invalid
from shared.messages.runs import Run, Usage
from shared.messages.runs_reading import ExtractionType, Risk
from shared.spelling import camel

Named = Annotated[str | None, Query(min_length=1, max_length=255)]


def _documented() -> dict[str, Any]:
    """What OpenAPI says of sessions with their runs, those respelled too."""
    route = reading("query_sessions")
    sessions = route["responses"][200]["content"]["application/json"]["schema"]["properties"]["sessions"]
    run = respelled(Run)
    run["properties"][camel("usage")] = respelled(Usage)
    sessions["items"]["properties"]["runs"] = {"type": "array", "items": run}
    return route


def add_routes(routes: APIRouter, door: SessionDoor) -> None:
    """Add them to a router."""

    @routes.get(
        "/api/query/extractions",
        operation_id="session_api_query_extractions",
        summary="What was found in the output of agents' runs, the newest first",
        response_class=Response,
        **reading("query_extractions"),
    )
    async def query_extractions(
        request: Request,
        type: ExtractionType | None = None,
        pattern: Named = None,
        session: Named = None,
        agent: Named = None,
        run: Named = None,
        risk: Risk | None = None,
        auto_confirm: Annotated[bool | None, Query(alias="autoConfirm")] = None,
        spelt_otherwise: Annotated[bool | None, Query(alias="auto_confirm", include_in_schema=False)] = None,
        text: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
        since: Moment = None,
        until: Moment = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        return await door.ask(
            request, "query_extractions", type=type, pattern=pattern, risk=risk, text=text,
            auto_confirm=spelt_otherwise if auto_confirm is None else auto_confirm,
            session_id=_named(request, session, "session", "sessionId", "session_id"),
            agent_name=_named(request, agent, "agent", "agentName", "agent_name"),
            run_id=_named(request, run, "run", "runId", "run_id"),
            since=since, until=until, limit=limit, cursor=cursor,
        )  # fmt: skip

    @routes.get(
        "/api/query/sessions",
        operation_id="session_api_query_sessions",
        summary="Sessions by status, agent and time, each with the runs in it",
        response_class=Response,
        **_documented(),
    )
    async def query_sessions(
        request: Request,
        status: Literal["active", "paused", "completed", "failed", "archived"] | None = None,
        agent: Named = None,
        since: Moment = None,
        until: Moment = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        return await door.ask(
            request, "query_sessions", status=status,
            agent_name=_named(request, agent, "agent", "agentName", "agent_name"),
            since=since, until=until, limit=limit, cursor=cursor,
        )  # fmt: skip

    @routes.get(
        "/api/query/stats/agent/{name:path}",
        operation_id="session_api_agent_stats",
        summary="Figures of an agent: runs, success, durations, lines, cost, tasks, and what was found",
        response_class=Response,
        **reading("agent_stats"),
    )
    async def agent_stats(
        request: Request, name: Annotated[str, Path(max_length=255)], since: Moment = None, until: Moment = None
    ) -> Response:
        return await door.ask(request, "agent_stats", agent_name=name, since=since, until=until)


def _named(request: Request, given: str | None, *spellings: str) -> str | None:
    """A parameter under any of its names. Raises `Rejected("invalid")` when it is there twice."""
    values = [value for name in spellings for value in request.query_params.getlist(name)]
    if len(values) > 1:
        raise invalid(f"{spellings[0]!r} is there twice", fields=[{"field": spellings[0], "kind": "duplicate"}])
    return values[0] if values else given
