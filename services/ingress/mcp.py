"""The MCP door, `POST /mcp`: every public command as a tool, over streamable HTTP without sessions.

The `mcp` library speaks the protocol, in all its versions. What a tool is given and what it returns is cut out of and
put into the documents around it as text, so that a number or a key's order is no more changed here than over HTTP.
"""

import asyncio
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import mcp_types as mcp
import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from services.ingress.access import Access
from services.ingress.bodies import LIMIT, BodyReader
from services.ingress.calls import Call
from services.ingress.commands import CommandDoor, public_spec
from services.ingress.mcp_tools import refusal, tools_for
from services.ingress.outgoing import check_message_id
from services.ingress.prefer import wait_of
from services.ingress.problems import Answer, not_allowed, problem
from shared.auth import Caller
from shared.errors import Rejected, invalid
from shared.logs import get_logger
from shared.messages import check_json
from shared.messages.json_text import MAX_WRAPPED_DEPTH, slices

# Most clients give up after a minute; a reply that takes longer than this is better announced than awaited.
WAIT_SECONDS = 50.0
INSTRUCTIONS = """\
Switchyard keeps what agents do together. Work happens in sessions: open one with create_session, keep what was learned
with store_memory, give work to other agents with delegate_task, and read it back with the get_, list_ and query_ tools.
A refused call says why in its error's `code`, `message` and `details`."""
_THIS_MACHINE = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")

log = get_logger()


@dataclass
class _Exchange:
    """One request: who asks, what the tool is given as text, and what it returned as text."""

    call: Call
    caller: Caller
    body: bytes
    # The message id the caller chose, in the request's `_meta`; not checked yet.
    idempotency_key: Any
    # Stands in for the result within the library's answer.
    mark: str
    result: bytes | None = None
    error: dict[str, Any] | None = None

    @property
    def arguments(self) -> bytes:
        """The tool's arguments as they were written."""
        given = slices(slices(self.body)["params"]).get("arguments", b"null")
        return b"{}" if given == b"null" else given


class McpDoor:
    """Runs commands as the tools of an MCP server; `run` must be under way."""

    def __init__(
        self, access: Access, commands: CommandDoor, bodies: BodyReader, *, origins: Collection[str], version: str
    ) -> None:
        """`origins` are the web origins whose pages may call, beside those of this machine."""
        self._access = access
        self._commands = commands
        self._bodies = bodies
        self._origins = origins
        server: Server[Any] = Server(
            "switchyard",
            version=version,
            title="Switchyard",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            # Else every call has the tools listed once more, for headers none of them asks for.
            get_tool_input_schema=lambda name: None,
        )
        # Its spans would repeat those of the front.
        server.middleware.clear()
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        self._running = asyncio.Event()

    async def run(self) -> None:
        """Carry the requests until cancelled."""
        async with self._manager.run():
            self._running.set()
            await asyncio.Event().wait()

    async def on_request(self, call: Call) -> Answer:
        """Answer a request: JSON-RPC where it is one, else a problem document. Raises `Rejected`."""
        caller = self._access.caller(call.headers)
        self._check_origin(call)
        if call.scope["method"] != "POST":
            # No stream of the server's own and no sessions to end: there is nothing to GET or DELETE.
            return problem(not_allowed(call.scope, "POST"), call.trace_id, status=405)
        content_type = (call.text(b"content-type") or "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            said = f"content-type application/json is expected, not {content_type or 'none'}"
            return problem(Rejected("invalid", said), call.trace_id, status=415)
        _, body = await self._bodies.read(call.receive, call.headers, LIMIT)
        try:
            document = check_json(body, MAX_WRAPPED_DEPTH)
        except Rejected as error:
            return _parse_error(error)
        exchange = _Exchange(call, caller, body, _idempotency_key(document), mark=secrets.token_hex(16))
        del document  # not carried through the wait for the reply
        await self._running.wait()
        return await self._converse(exchange)

    def _check_origin(self, call: Call) -> None:
        """Refuse pages from elsewhere: a name of theirs may have been bent to this machine's address.

        Browsers name the page's origin in every POST, so the Host, which proxies change, need not be known.
        """
        origin = call.text(b"origin")
        if origin is None or origin in self._origins or _THIS_MACHINE.fullmatch(origin):
            return
        raise Rejected(
            "forbidden", f"pages of {origin!r} may not call here; SWITCHYARD_ALLOWED_ORIGINS names those that may"
        )

    async def _converse(self, exchange: _Exchange) -> Answer:
        """Hand the request to the library, and put the tool's result into its answer."""
        scope = exchange.call.scope
        status, headers, pieces = 500, {}, []
        given: list[dict[str, Any]] = [{"type": "http.request", "body": exchange.body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return given.pop() if given else await exchange.call.receive()

        async def send(message: Any) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = int(message["status"]), dict(message["headers"])
            else:
                pieces.append(message.get("body", b""))

        sent = [(name, value) for name, value in scope["headers"] if name not in _READ_ALREADY]
        if b"accept" not in exchange.call.headers:
            sent.append((b"accept", b"*/*"))
        state = {**scope["state"], "exchange": exchange}
        await self._manager.handle_request({**scope, "headers": sent, "state": state}, receive, send)
        body = b"".join(pieces)
        if exchange.result is not None:
            mark = exchange.mark.encode()
            body = body.replace(b'{"%b":""}' % mark, exchange.result, 1)
            body = body.replace(b'"%b"' % mark, orjson.dumps(exchange.result.decode()), 1)
        error = exchange.error or {}
        return Answer(
            status,
            body,
            content_type=headers.get(b"content-type", b"application/json"),
            code=error.get("code", ""),
            detail=str(error.get("message", "")),
        )

    async def _list_tools(self, context: ServerRequestContext[Any, Any], params: Any) -> mcp.ListToolsResult:
        return mcp.ListToolsResult(tools=tools_for(_exchange(context).caller))

    async def _call_tool(
        self, context: ServerRequestContext[Any, Any], params: mcp.CallToolRequestParams
    ) -> mcp.CallToolResult:
        exchange = _exchange(context)
        try:
            spec = public_spec(params.name)
        except Rejected:
            raise MCPError(mcp.INVALID_PARAMS, f"there is no tool {params.name!r}; tools/list names them") from None
        try:
            exchange.caller.require(spec.scope)
            outcome = await self._commands.perform(
                exchange.call,
                spec,
                exchange.caller,
                exchange.arguments,
                envelope=_envelope(exchange),
                wait=_patience(exchange.call),
            )
        except Rejected as error:
            exchange.error = error.as_error()
            return refusal(exchange.error)
        except Exception:
            log.exception("tool_failed", command=spec.name, trace_id=exchange.call.trace_id)
            exchange.error = Rejected(
                "internal", "this went wrong here, not with you", trace_id=exchange.call.trace_id
            ).as_error()
            return refusal(exchange.error)
        if outcome.error is not None:
            exchange.error = outcome.error
            return refusal(exchange.error)
        if outcome.result is None:
            exchange.error = Rejected(
                "timeout",
                "the command is kept and will be done, but its reply is not there yet",
                message_id=outcome.message_id,
                location=f"/api/commands/{outcome.message_id}",
            ).as_error()
            return refusal(exchange.error)
        exchange.result = outcome.result
        return mcp.CallToolResult(content=[mcp.TextContent(text=exchange.mark)], structured_content={exchange.mark: ""})


# What the library need not look at any more: the body comes decompressed.
_READ_ALREADY = (b"content-length", b"content-encoding", b"transfer-encoding")


def _exchange(context: ServerRequestContext[Any, Any]) -> _Exchange:
    found: _Exchange = cast(Any, context.request).scope["state"]["exchange"]
    return found


def _idempotency_key(document: Any) -> Any:
    for name in ("params", "_meta", "idempotency_key"):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _envelope(exchange: _Exchange) -> dict[str, Any]:
    key = exchange.idempotency_key
    if key is None:
        return {}
    if not isinstance(key, str):
        raise invalid("idempotency_key is text", fields=[{"field": "_meta.idempotency_key", "kind": "id"}])
    return {"message_id": check_message_id(key)}


def _patience(call: Call) -> float:
    wanted = wait_of(call)
    return WAIT_SECONDS if wanted is None else wanted


def _parse_error(error: Rejected) -> Answer:
    fault = mcp.ErrorData(code=mcp.PARSE_ERROR, message=error.message, data=error.as_error())
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": fault.model_dump()})
    return Answer(400, body, code=error.code, detail=error.message)
