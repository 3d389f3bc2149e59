"""Routes of states, their goals and the agents spawned in them."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from services.ingress.calls import call_of, response_of
from services.ingress.commands import Outcome
from services.ingress.problems import from_error
from services.ingress.session_api import etags
from services.ingress.session_api.documents import state_reading, state_writing, writing
from services.ingress.session_api.door import SessionDoor
from services.ingress.session_api.sessions import SessionId
from services.ingress.session_api.spelling import version_of
from shared.messages import JsonText, encode

PartId = Annotated[str, Path(max_length=255)]


def add_routes(routes: APIRouter, door: SessionDoor) -> None:
    """Add them to a router."""

    @routes.post(
        "/api/state/{session_id:path}/goals",
        operation_id="session_api_add_goal",
        summary="Set a session a goal",
        response_class=Response,
        **writing("add_goal", ("session_id",), rest="metadata"),
    )
    async def add_goal(request: Request, session_id: SessionId) -> Response:
        return await door.send(request, "add_goal", rest="metadata", session_id=session_id)

    @routes.patch(
        "/api/state/{session_id:path}/goals/{goal_id}",
        operation_id="session_api_update_goal",
        summary="Change a goal",
        response_class=Response,
        **writing("update_goal", ("session_id", "goal_id"), rest="metadata"),
    )
    async def update_goal(request: Request, session_id: SessionId, goal_id: PartId) -> Response:
        return await door.send(request, "update_goal", rest="metadata", session_id=session_id, goal_id=goal_id)

    @routes.post(
        "/api/state/{session_id:path}/agents",
        operation_id="session_api_spawn_agent",
        summary="Note down that an agent was spawned in a session",
        response_class=Response,
        **writing("spawn_agent", ("session_id",), rest="metadata"),
    )
    async def spawn_agent(request: Request, session_id: SessionId) -> Response:
        return await door.send(request, "spawn_agent", rest="metadata", session_id=session_id)

    @routes.post(
        "/api/state/{session_id:path}/agents/{agent_id}/complete",
        operation_id="session_api_complete_agent",
        summary="Note down that a spawned agent is done or has failed",
        response_class=Response,
        **writing("complete_agent", ("session_id", "agent_id"), rest="result"),
    )
    async def complete_agent(request: Request, session_id: SessionId, agent_id: PartId) -> Response:
        return await door.send(request, "complete_agent", rest="result", session_id=session_id, agent_id=agent_id)

    @routes.get(
        "/api/state/{session_id:path}",
        operation_id="session_api_get_state",
        summary="A session's state, with its goals and agents",
        response_class=Response,
        **state_reading(),
    )
    async def get_state(request: Request, session_id: SessionId) -> Response:
        known = _precondition(request, "if-none-match")
        outcome = await door.perform(request, "get_state", encode({"session_id": session_id}))
        if outcome.result is not None and etags.is_known(known, version := version_of(outcome.result)):
            return Response(status_code=304, headers={"ETag": etags.etag(version)})
        return _tagged(door.answer(request, "get_state", outcome), outcome)

    @routes.patch(
        "/api/state/{session_id:path}",
        operation_id="session_api_update_state",
        summary="Change a session's state by a JSON Merge Patch (RFC 7386)",
        response_class=Response,
        **state_writing(),
    )
    async def update_state(request: Request, session_id: SessionId) -> Response:
        patch = JsonText(await door.body(request, "update_state"))
        allowed = etags.versions_allowed(_precondition(request, "if-match"))
        guard = {} if allowed is None else {"if_version": allowed}
        outcome = await door.perform(
            request, "update_state", encode({"session_id": session_id, "patch": patch, **guard})
        )
        if outcome.error is not None and "if_version" in outcome.error.get("details", {}):
            return response_of(from_error(outcome.error, call_of(request).trace_id, status=412))
        return _tagged(door.answer(request, "update_state", outcome), outcome)


def _precondition(request: Request, header: str) -> str | None:
    """A header that may stand there more than once, as one list."""
    values = request.headers.getlist(header)
    return ", ".join(values) if values else None


def _tagged(response: Response, outcome: Outcome) -> Response:
    if outcome.result is not None:
        response.headers["ETag"] = etags.etag(version_of(outcome.result))
    return response
