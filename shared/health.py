"""`/health/live`, `/health/ready` and `/metrics`, the same for every service."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

# Returns None when the dependency answers, else what is wrong with it.
Check = Callable[[], Awaitable[str | None]]


def health_router(checks: dict[str, Check]) -> APIRouter:
    """The three routes; `checks` by the dependency's name."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/health/ready")
    async def ready() -> Response:
        faults = await failing(checks)
        body: dict[str, Any] = {"status": "not ready" if faults else "ready"}
        if faults:
            body["failing"] = faults
        return JSONResponse(body, status_code=503 if faults else 200)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def failing(checks: dict[str, Check]) -> dict[str, str]:
    """What is wrong, by dependency; empty when all is well. No check takes longer than 2 s."""

    async def ask(check: Check) -> str | None:
        try:
            async with asyncio.timeout(2):
                return await check()
        except TimeoutError:
            return "no answer within 2 s"

    answers = await asyncio.gather(*map(ask, checks.values()))
    return {name: fault for name, fault in zip(checks, answers, strict=True) if fault}


def health_server(checks: dict[str, Check], *, host: str, port: int) -> uvicorn.Server:
    """A server of the three routes alone, for services without another HTTP side; run its `serve()`."""
    app = FastAPI(openapi_url=None)
    app.include_router(health_router(checks))
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off")
    )
    # The process has signal handlers of its own.
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
    return server
