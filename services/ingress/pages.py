"""Everything a browser or an operator asks for: dashboard, documentation, sign-in, tokens, health, metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from services.ingress.access import Access, LoginRequest, TokenRequest
from services.ingress.bodies import LIMIT, BodyReader
from services.ingress.calls import call_of
from services.ingress.schemas import ERRORS, SECURED, json_response
from shared.messages import check_json

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
DOCS = Path(__file__).resolve().parent / "static" / "docs"


class Readiness(NamedTuple):
    """Whether messages are taken now, and what is wrong with each dependency (None: nothing)."""

    ready: bool
    dependencies: dict[str, str | None]

    @property
    def failing(self) -> dict[str, str]:
        """What is wrong, by dependency."""
        return {name: fault for name, fault in self.dependencies.items() if fault}


def security_headers(gateway_url: str) -> dict[str, str]:
    """The headers of every page: nothing from elsewhere, nothing inline, and a WebSocket to the gateway alone."""
    gateway = urlsplit(gateway_url)
    # Behind an edge the WebSocket has the page's own origin, and the URL is a path.
    elsewhere = f" {gateway.scheme}://{gateway.netloc}" if gateway.netloc else ""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"connect-src 'self'{elsewhere}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


class Files(StaticFiles):
    """Static files with the security headers."""

    def __init__(self, directory: Path, headers: dict[str, str]) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._extra = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._extra]
            await send(message)

        await super().__call__(scope, receive, with_headers)


def add_pages(api: FastAPI, gateway_url: str) -> None:
    """The dashboard at `/`, the documentation at `/docs`."""
    headers = security_headers(gateway_url)

    @api.get("/", include_in_schema=False)
    async def dashboard() -> Response:
        return FileResponse(DASHBOARD / "index.html", headers=headers)

    @api.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(DOCS / "index.html", headers=headers)

    api.mount("/dashboard", Files(DASHBOARD, headers))
    api.mount("/docs/assets", Files(DOCS, headers))


def access_router(access: Access, bodies: BodyReader, config: dict[str, str]) -> APIRouter:
    """Sign-in, WebSocket tokens, and what a page must know before it signs in."""
    routes = APIRouter(tags=["access"])

    async def document_of(request: Request) -> Any:
        call = call_of(request)
        _, body = await bodies.read(call.receive, call.headers, LIMIT)
        return check_json(body)

    @routes.post(
        "/api/login",
        operation_id="sign_in",
        summary="Exchange the code of a sign-in link, once, for an access token",
        response_class=Response,
        responses={200: json_response("the token", _ACCESS_TOKEN), **{code: ERRORS[code] for code in (401, 413, 422)}},
        openapi_extra=_body(LoginRequest),
    )
    async def sign_in(request: Request) -> Response:
        return JSONResponse(await access.sign_in(await document_of(request)), headers={"Cache-Control": "no-store"})

    @routes.post(
        "/api/tokens",
        operation_id="make_token",
        summary="A token for the WebSocket; observing needs the scope read, acting publish or agent",
        response_class=Response,
        responses={
            200: json_response("the token", _SOCKET_TOKEN),
            **{code: ERRORS[code] for code in (401, 403, 413, 422, 429, 503)},
        },
        openapi_extra={**SECURED, **_body(TokenRequest)},
    )
    async def make_token(request: Request) -> Response:
        caller = access.caller(call_of(request).headers)
        token = access.socket_token(caller, await document_of(request))
        return JSONResponse(token, headers={"Cache-Control": "no-store"})

    @routes.get(
        "/api/config", operation_id="get_config", summary="Where the WebSocket is, and the version; needs no key"
    )
    async def get_config() -> dict[str, str]:
        return config

    return routes


def health_router(readiness: Callable[[], Readiness], metrics: Callable[[], bytes], version: str) -> APIRouter:
    """Health and metrics."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health/live", operation_id="live", summary="200 as long as the process answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @routes.get(
        "/health/ready",
        operation_id="ready",
        summary="200 when messages are taken, else 503 and what is missing",
        responses={503: {"description": "messages are not taken; `failing` says why"}},
    )
    async def ready() -> Response:
        state = readiness()
        document: dict[str, Any] = {"status": "ready" if state.ready else "not ready"}
        if state.failing:
            # With the broker away and room in the spool this is not empty, and the answer still 200.
            document["failing"] = state.failing
        return JSONResponse(document, 200 if state.ready else 503)

    @routes.get(
        "/health",
        operation_id="health",
        summary="How the service and its dependencies are",
        responses={503: {"description": "messages are not taken; `dependencies` says why"}},
    )
    async def health() -> Response:
        state = readiness()
        document = {
            "status": "ok" if state.ready else "unavailable",
            "service": "ingress",
            "version": version,
            "dependencies": {name: fault or "up" for name, fault in state.dependencies.items()},
        }
        return JSONResponse(document, 200 if state.ready else 503)

    @routes.get(
        "/metrics", operation_id="metrics", summary="Metrics in Prometheus's text format", response_class=Response
    )
    async def get_metrics() -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _body(shape: type[LoginRequest] | type[TokenRequest]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": shape.model_json_schema()}}}}


_ACCESS_TOKEN: dict[str, Any] = {
    "type": "object",
    "required": ["access_token", "expires_in", "scopes"],
    "properties": {
        "access_token": {"type": "string"},
        "expires_in": {"type": "integer"},
        "scopes": {"type": "array", "items": {"type": "string"}},
    },
}
_SOCKET_TOKEN: dict[str, Any] = {
    "type": "object",
    "required": ["token", "token_id", "expires", "scopes"],
    "properties": {
        "token": {"type": "string"},
        "token_id": {"type": "string", "description": "what `revoke_tokens` knows it by"},
        "expires": {"type": "string", "format": "date-time"},
        "scopes": {"type": "array", "items": {"type": "string"}, "description": "what the token allows"},
    },
}
