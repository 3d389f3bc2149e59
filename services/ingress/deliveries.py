"""Webhook deliveries, dead letters and what became of a command: the routes over the bus's own commands."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from services.ingress.access import Access
from services.ingress.bodies import LIMIT, BodyReader
from services.ingress.calls import call_of, response_of
from services.ingress.commands import CommandDoor, answer
from services.ingress.prefer import wait_of
from services.ingress.schemas import ERRORS, SECURED, accepted_response, data_schema, json_response, result_members
from shared.messages import encode, spec_of
from shared.messages.envelope import Scope
from shared.messages.system import DeadLetterId

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=4_000)]


def delivery_router(commands: CommandDoor, access: Access, bodies: BodyReader) -> APIRouter:
    """The routes for deliveries, dead letters and command status."""
    routes = APIRouter(responses=ERRORS)

    async def run(request: Request, name: str, data: bytes, scope: Scope) -> Response:
        call = call_of(request)
        spec = spec_of(name)
        caller = access.caller(call.headers)
        caller.require(scope)
        return response_of(
            answer(spec, await commands.perform(call, spec, caller, data, wait=wait_of(call)), call.trace_id)
        )

    @routes.get(
        "/api/commands/{message_id:path}",
        tags=["commands"],
        operation_id="get_command",
        summary="What became of a command: pending, done with its result, or failed with its error",
        response_class=Response,
        responses={200: json_response("its status", _COMMAND_STATUS)},
        openapi_extra=SECURED,
    )
    async def get_command(request: Request, message_id: Annotated[str, Path(max_length=255)]) -> Response:
        call = call_of(request)
        return response_of(await commands.status(call, access.caller(call.headers), message_id))

    @routes.get(
        "/api/deliveries",
        tags=["deliveries"],
        operation_id="list_deliveries",
        summary="Webhook deliveries without their payloads, the newest first",
        response_class=Response,
        responses={200: json_response("a page of deliveries", result_members(spec_of("list_deliveries")))},
        openapi_extra=SECURED,
    )
    async def list_deliveries(
        request: Request,
        source: Annotated[str | None, Query(min_length=1, max_length=255)] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        return await run(request, "list_deliveries", _given(source=source, limit=limit, cursor=cursor), "read")

    @routes.get(
        "/api/deliveries/{delivery_id:path}",
        tags=["deliveries"],
        operation_id="get_delivery",
        summary="One webhook delivery with its payload, by its delivery id or message id",
        response_class=Response,
        responses={200: json_response("the delivery", result_members(spec_of("get_delivery")))},
        openapi_extra=SECURED,
    )
    async def get_delivery(request: Request, delivery_id: Annotated[str, Path(max_length=255)]) -> Response:
        return await run(request, "get_delivery", encode({"delivery_id": delivery_id}), "read")

    @routes.post(
        "/api/deliveries/{delivery_id:path}/redeliver",
        tags=["deliveries"],
        operation_id="redeliver_delivery",
        summary="Tell of a webhook delivery again: its event under a new message id, marked `redelivered`",
        response_class=Response,
        responses={
            200: json_response("told again", result_members(spec_of("redeliver_delivery"))),
            202: accepted_response(),
        },
        openapi_extra=SECURED,
    )
    async def redeliver_delivery(request: Request, delivery_id: Annotated[str, Path(max_length=255)]) -> Response:
        return await run(request, "redeliver_delivery", encode({"delivery_id": delivery_id}), "publish")

    @routes.get(
        "/api/dead-letters",
        tags=["dead letters"],
        operation_id="list_dead_letters",
        summary="Messages no worker could take, the newest first",
        response_class=Response,
        responses={200: json_response("a page of dead letters", result_members(spec_of("list_dead_letters")))},
        openapi_extra=SECURED,
    )
    async def list_dead_letters(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
        return await run(request, "list_dead_letters", _given(limit=limit, cursor=cursor), "read")

    @routes.get(
        "/api/dead-letters/redrive",
        tags=["dead letters"],
        operation_id="get_redrive",
        summary="Which of these dead letters wait to be published again, which were, and which lie here as they came",
        response_class=Response,
        responses={200: json_response("ids by state", result_members(spec_of("get_redrive")))},
        openapi_extra=SECURED,
    )
    async def get_redrive(
        request: Request, dead_letter_id: Annotated[list[DeadLetterId], Query(max_length=1000)]
    ) -> Response:
        return await run(request, "get_redrive", encode({"dead_letter_ids": dead_letter_id}), "read")

    @routes.get(
        "/api/dead-letters/{dead_letter_id}",
        tags=["dead letters"],
        operation_id="get_dead_letter",
        summary="One dead letter with its headers and its body as text",
        response_class=Response,
        responses={200: json_response("the dead letter", result_members(spec_of("get_dead_letter")))},
        openapi_extra=SECURED,
    )
    async def get_dead_letter(request: Request, dead_letter_id: Annotated[int, Path(ge=1, lt=2**63)]) -> Response:
        return await run(request, "get_dead_letter", encode({"dead_letter_id": dead_letter_id}), "read")

    @routes.post(
        "/api/dead-letters/redrive",
        tags=["dead letters"],
        operation_id="redrive_dead_letters",
        summary="Publish dead letters again, those named or all; needs the scope admin",
        response_class=Response,
        responses={
            200: json_response("how many went out", result_members(spec_of("redrive_dead_letters"))),
            202: accepted_response(),
        },
        openapi_extra={
            **SECURED,
            "requestBody": {"content": {"application/json": {"schema": data_schema(spec_of("redrive_dead_letters"))}}},
        },
    )
    async def redrive_dead_letters(request: Request) -> Response:
        call = call_of(request)
        access.caller(call.headers).require("admin")
        _, body = await bodies.read(call.receive, call.headers, LIMIT)
        return await run(request, "redrive_dead_letters", body if body.strip() else b"{}", "admin")

    return routes


def _given(**fields: Any) -> bytes:
    return encode({name: value for name, value in fields.items() if value is not None})


_COMMAND_STATUS: dict[str, Any] = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "enum": ["pending", "done", "failed"]},
        "result": {"type": "object"},
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {"type": "object"}},
        },
    },
}
