"""The FastAPI application: every route that is not hot, with errors as problem documents."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from services.ingress.access import Access
from services.ingress.bodies import BodyReader
from services.ingress.calls import call_of, response_of
from services.ingress.chats import chat_router
from services.ingress.commands import CommandDoor
from services.ingress.deliveries import delivery_router
from services.ingress.pages import access_router, add_pages
from services.ingress.problems import internal, not_allowed, problem
from services.ingress.session_api import session_router
from services.ingress.session_api.replays import Replays
from shared.errors import ErrorCode, Rejected, invalid

TITLE = "Switchyard"
DESCRIPTION = (
    "An event bus for AI agents. Commands and webhooks come in here; what happens comes out on the WebSocket. "
    "Errors are RFC 9457 problem documents with `code` and `trace_id`."
)
_CODES: dict[int, ErrorCode] = {404: "not_found", 413: "too_large", 401: "unauthorized", 403: "forbidden"}


def make_api(
    commands: CommandDoor,
    access: Access,
    bodies: BodyReader,
    *,
    gateway_url: str,
    version: str,
    replays: Replays | None = None,
) -> FastAPI:
    """The application; health and metrics are added by the composition, which knows them."""
    api = FastAPI(
        title=TITLE,
        description=DESCRIPTION,
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    api.add_exception_handler(Rejected, _on_rejected)
    api.add_exception_handler(RequestValidationError, _on_wrong_parameter)
    api.add_exception_handler(HTTPException, _on_http_exception)
    api.add_exception_handler(Exception, _on_bug)
    api.include_router(session_router(commands, access, bodies, replays))
    api.include_router(chat_router(commands, access))
    api.include_router(delivery_router(commands, access, bodies))
    api.include_router(access_router(access, bodies, {"gateway_url": gateway_url, "version": version}))
    add_pages(api, gateway_url)
    return api


def _operation_id(route: APIRoute) -> str:
    return route.operation_id or route.name


async def _on_rejected(request: Request, error: Exception) -> Response:
    assert isinstance(error, Rejected)
    return _problem(request, error)


async def _on_wrong_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [
        {"field": ".".join(map(str, fault["loc"][1:])), "fault": fault["msg"], "kind": fault["type"]}
        for fault in error.errors()
    ]
    named = "; ".join(f"{fault['field']}: {fault['fault']}" for fault in fields)
    return _problem(request, invalid(f"a parameter is not valid: {named}", fields=fields))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "GET").replace("GET", "GET, HEAD")
        return _problem(request, not_allowed(call_of(request).scope, allow), status=405)
    code = _CODES.get(error.status_code, "invalid" if error.status_code < 500 else "internal")
    said = f"there is nothing at {request.url.path}" if error.status_code == 404 else error.detail
    return _problem(request, Rejected(code, said), status=error.status_code)


async def _on_bug(request: Request, error: Exception) -> Response:
    # The front writes it to the log: Starlette raises it again after this answer.
    return response_of(internal(call_of(request).trace_id))


def _problem(request: Request, error: Rejected, *, status: int = 0) -> Response:
    call = call_of(request)
    answer = problem(error, call.trace_id, status=status)
    call.notes.update(code=answer.code, detail=answer.detail)
    return response_of(answer)
