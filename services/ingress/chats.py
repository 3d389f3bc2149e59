"""Routes of chats with bots: what the pool holds, what waits, and beginning anew; over the same commands."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from services.ingress.access import Access
from services.ingress.calls import call_of, response_of
from services.ingress.commands import CommandDoor, answer
from services.ingress.prefer import wait_of
from services.ingress.schemas import ERRORS, SECURED, accepted_response, json_response, result_members
from services.ingress.session_api.segments import SegmentRoute
from shared.messages import encode, spec_of
from shared.messages.json_text import JsonText, slices

RoomId = Annotated[str, Path(min_length=1, max_length=255)]
BotId = Annotated[str, Path(min_length=1, max_length=255)]
Room = Annotated[str | None, Query(alias="room_id", min_length=1, max_length=255, description="of this room alone")]
Bot = Annotated[str | None, Query(alias="bot_id", min_length=1, max_length=255, description="of this bot alone")]

# Which members of `chat_stats` each path shows; a queue is shown flat.
_SESSION_MEMBERS = ("pool", "workers", "bots")
_SESSION_STATS: dict[str, Any] = {
    "type": "object",
    "required": ["sessions", *_SESSION_MEMBERS],
    "properties": {
        "sessions": {
            "type": "array",
            "description": "the connected clients: whose each is, on which worker, whether it is answering",
            "items": {
                "type": "object",
                "required": ["room_id", "bot_id", "busy", "idle_s", "worker_id"],
                "properties": {
                    "room_id": {"type": "string"},
                    "bot_id": {"type": "string"},
                    "busy": {"type": "boolean"},
                    "idle_s": {"type": "number"},
                    "worker_id": {"type": "string"},
                },
            },
        },
        "pool": {"type": "object"},
        "workers": {"type": "array", "items": {"type": "object"}},
        "bots": {"type": "array", "items": {"type": "object"}},
    },
}
_QUEUE_STATS: dict[str, Any] = {
    "type": "object",
    "required": ["queued", "running", "parked", "oldest_s", "chats", "today"],
    "properties": {
        "queued": {"type": "integer"},
        "running": {"type": "integer"},
        "parked": {"type": "integer"},
        "oldest_s": {"type": "number"},
        "chats": {"type": "array", "items": {"type": "object"}},
        "today": {"type": "object"},
    },
}


def chat_router(commands: CommandDoor, access: Access) -> APIRouter:
    """The routes of chats."""
    routes = APIRouter(tags=["chats"], responses=ERRORS, route_class=SegmentRoute)

    async def stats(request: Request, room_id: str | None, bot_id: str | None) -> tuple[bytes | None, Response]:
        """The result of `chat_stats`, none when it is refused, and the answer as the command would give it."""
        call = call_of(request)
        spec = spec_of("chat_stats")
        caller = access.caller(call.headers)
        caller.require(spec.scope)
        asked = {name: value for name, value in (("room_id", room_id), ("bot_id", bot_id)) if value is not None}
        outcome = await commands.perform(call, spec, caller, encode(asked), wait=wait_of(call))
        return outcome.result, response_of(answer(spec, outcome, call.trace_id))

    @routes.get(
        "/session/stats",
        operation_id="chat_pool_stats",
        summary="The pool of connected clients, whose they are, the workers and the bots",
        response_class=Response,
        responses={200: json_response("the pool", _SESSION_STATS)},
        openapi_extra=SECURED,
    )
    async def session_stats(request: Request, room: Room = None, bot: Bot = None) -> Response:
        result, refused = await stats(request, room, bot)
        if result is None:
            return refused
        members = slices(result)
        sessions = [
            {**session, "worker_id": worker["worker_id"]}
            for worker in JsonText(members["workers"]).value()
            for session in worker.get("sessions", [])
            if room in (None, session["room_id"]) and bot in (None, session["bot_id"])
        ]
        shown = {name: JsonText(members[name]) for name in _SESSION_MEMBERS}
        return Response(encode({"sessions": sessions, **shown}), media_type="application/json")

    @routes.get(
        "/queue/stats",
        operation_id="chat_queue_stats",
        summary="Messages to bots that wait, run and are parked, by chat, and what was used today",
        response_class=Response,
        responses={200: json_response("the queue", _QUEUE_STATS)},
        openapi_extra=SECURED,
    )
    async def queue_stats(request: Request, room: Room = None, bot: Bot = None) -> Response:
        result, refused = await stats(request, room, bot)
        if result is None:
            return refused
        return Response(slices(result)["queue"], media_type="application/json")

    @routes.post(
        "/api/chat/{room_id}/{bot_id}/reset",
        operation_id="chat_reset",
        summary="Forget what a bot and a room have said to each other",
        response_class=Response,
        responses={200: json_response("forgotten", result_members(spec_of("reset_chat"))), 202: accepted_response()},
        openapi_extra=SECURED,
    )
    async def reset(request: Request, room_id: RoomId, bot_id: BotId) -> Response:
        call = call_of(request)
        spec = spec_of("reset_chat")
        caller = access.caller(call.headers)
        caller.require(spec.scope)
        data = encode({"room_id": room_id, "bot_id": bot_id})
        outcome = await commands.perform(call, spec, caller, data, wait=wait_of(call))
        return response_of(answer(spec, outcome, call.trace_id))

    return routes
