"""The front of the service: hot routes answered here as bare ASGI, everything else handed to FastAPI."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.propagate import extract

from services.ingress.bodies import ClientGone
from services.ingress.calls import Call
from services.ingress.commands import CommandDoor
from services.ingress.hooks import HookDoor
from services.ingress.mcp import McpDoor
from services.ingress.metrics import Metrics
from services.ingress.problems import Answer, internal, not_allowed, problem
from services.ingress.server import send_answer
from services.ingress.webhooks import WebhookDoor
from shared.errors import Rejected
from shared.logs import get_logger

Send = Callable[[Any], Awaitable[None]]

# What hot routes take beside POST.
_ALLOWED = {"/api/commands/{command}": "GET, HEAD, POST"}
# Codes of refusals that whoever watches over access wants to see.
_SECURITY = ("unauthorized", "forbidden", "rate_limited")

log = get_logger()
_tracer = trace.get_tracer("switchyard")


class Front:
    """The ASGI application that the server runs."""

    def __init__(
        self,
        api: FastAPI,
        webhooks: WebhookDoor,
        commands: CommandDoor,
        hooks: HookDoor,
        mcp: McpDoor,
        metrics: Metrics,
        *,
        traced: bool = False,
    ) -> None:
        self._api = api
        self._webhooks = webhooks
        self._commands = commands
        self._hooks = hooks
        self._mcp = mcp
        self._metrics = metrics
        self._traced = traced

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith("/webhook") and (len(path) == 8 or path[8] == "/"):
            if len(path) <= 9:
                await self._hot("/webhook", self._webhooks.on_root, scope, receive, send)
            else:
                await self._hot("/webhook/{source}", self._webhooks.on_source, scope, receive, send, path[9:])
        elif path.startswith("/api/commands/") and scope["method"] not in ("GET", "HEAD"):
            await self._hot("/api/commands/{command}", self._commands.on_named, scope, receive, send, path[14:])
        elif path == "/api/commands":
            await self._hot("/api/commands", self._commands.on_form, scope, receive, send)
        elif path == "/hooks/claude":
            await self._hot(path, self._hooks.on_claude, scope, receive, send)
        elif path == "/mcp":
            await self._hot("/mcp", self._mcp.on_request, scope, receive, send)
        else:
            await self._cold(scope, receive, send)

    async def _hot(
        self, route: str, handler: Callable[..., Awaitable[Answer]], scope: Any, receive: Any, send: Send, *names: str
    ) -> None:
        started = perf_counter()
        call = Call(scope, receive)
        try:
            # MCP clients learn from 401 that they need a key, whatever they begin with.
            if scope["method"] != "POST" and route != "/mcp":
                answer = problem(not_allowed(scope, _ALLOWED.get(route, "POST")), call.trace_id, status=405)
            else:
                answer = await (handler(call, *names) if not self._traced else _traced(route, call, handler, names))
        except Rejected as error:
            answer = problem(error, call.trace_id)
        except ClientGone:
            # Nobody is there to answer; 499 is what web servers call this.
            self._note(route, call, 499, perf_counter() - started, "client_gone", "")
            return
        except Exception:
            log.exception("request_failed", route=route, trace_id=call.trace_id)
            answer = internal(call.trace_id)
        status, body, headers, content_type, code, detail = answer
        # Campfire takes anything with a content type for a message, so 204 has none.
        head = b"" if status == 204 else b"content-type: %b\r\ncontent-length: %d\r\n" % (content_type, len(body))
        for name, value in headers:
            head += b"%b: %b\r\n" % (name, value)
        await send_answer(send, status, head, body)
        self._note(route, call, status, perf_counter() - started, code, detail)

    async def _cold(self, scope: Any, receive: Any, send: Send) -> None:
        started = perf_counter()
        call = Call(scope, receive)
        scope["state"]["call"] = call
        if scope["method"] == "HEAD":
            # Answered as GET; the server, which has a scope of its own, leaves the body out.
            scope = {**scope, "method": "GET"}
        status = 0

        async def watching(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._api(scope, receive, watching)
        except ClientGone:
            status = 499
        except Exception:
            log.exception("request_failed", path=scope["path"], trace_id=call.trace_id)
            if not status:
                raise
        route = getattr(scope.get("route"), "path", "/other")
        self._note(
            route, call, status, perf_counter() - started, call.notes.pop("code", ""), call.notes.pop("detail", "")
        )

    def _note(self, route: str, call: Call, status: int, seconds: float, code: str, detail: str) -> None:
        """Count the request; write one line for each that was refused or failed.

        Those that went well are counted only, unless the level is `debug`: at thousands a second a line for each
        would cost more than the request, and says nothing the metrics don't. Nor health checks, which fail by the
        second while a dependency is away. Never a query string: it may hold a token. Who was refused is told under a
        name of its own, with the address and the key as far as it is known.
        """
        self._metrics.count(route, status, seconds)
        if code in _SECURITY:
            caller = call.headers.caller
            call.notes.setdefault("caller", caller.name if caller else None)
            call.notes.update(route=route, address=(call.scope.get("client") or ("?",))[0])
        told = (status >= 300 or code) and not call.scope["path"].startswith("/health")
        write = log.info if told else log.debug
        write(
            "access_refused" if code in _SECURITY else "http_request",
            method=call.scope["method"],
            path=call.scope["path"],
            status=status,
            ms=round(seconds * 1000, 2),
            trace_id=call.trace_id,
            **({"error": code, "detail": detail} if code else {}),
            **call.notes,
        )


async def _traced(route: str, call: Call, handler: Callable[..., Awaitable[Answer]], names: tuple[str, ...]) -> Answer:
    """Handle a request within a span of its trace, which whatever follows from it is then a part of."""
    parent = extract({"traceparent": call.traceparent})
    with _tracer.start_as_current_span(f"POST {route}", parent, trace.SpanKind.SERVER) as span:
        context = span.get_span_context()
        call.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        return await handler(call, *names)
