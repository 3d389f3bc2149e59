"""Commands of clients: passed to the workers over the bus, and their replies passed back, both unchanged."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from services.ws_gateway.access import Identity
from services.ws_gateway.frames import error, text_frame
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.requests import CommandRequest
from services.ws_gateway.subscriptions import Topics
from shared.bus.rpc import Rpc
from shared.errors import BusError, Rejected, Unavailable, invalid
from shared.messages import CommandSpec, JsonText, encode, encode_command, spec_of
from shared.messages.envelope import topic_word
from shared.messages.json_text import slices

# The longest a command may take by its own wish (`wait_s` of claim_task), and a little more.
WAIT_SECONDS = 35.0
_AREAS = ("session", "memory", "task")

# Sends a command, returns the text of its reply.
Ask = Callable[[CommandSpec, bytes, str], Awaitable[bytes]]


class Reply(msgspec.Struct):
    """What every command has: its result or its error, still as text."""

    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"{}")


_REPLY = msgspec.json.Decoder(Reply)


def read_reply(text: bytes) -> Reply:
    """A reply as it came over the bus."""
    return _REPLY.decode(text)


def check_allowed(identity: Identity, spec: CommandSpec, data: dict[str, object]) -> None:
    """Raises `Rejected` when the token does not allow this command."""
    if not spec.public:
        raise invalid(f"there is no command {spec.name!r} here", command=spec.name)
    if identity.permission == "observer" and not spec.reads:
        raise Rejected("forbidden", f"an observer may only read; {spec.name} writes", command=spec.name)
    if identity.topics is not None and not _in_reach(identity.topics, data.get("session_id")):
        raise Rejected(
            "forbidden", "the token is for certain topics: a command must name a session among them", command=spec.name
        )


def _in_reach(topics: Topics, session_id: object) -> bool:
    """Whether a token for these topics may hear everything of a session in one of its areas."""
    return isinstance(session_id, str) and any(topics.cover(f"{area}.{topic_word(session_id)}.#") for area in _AREAS)


class Commands:
    """Runs the commands of all clients."""

    def __init__(self, rpc: Rpc, metrics: Metrics) -> None:
        self._rpc = rpc
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._metrics = metrics

    async def finished(self) -> None:
        """Wait until no command is under way."""
        await self._idle.wait()

    async def run(self, identity: Identity, request: CommandRequest, text: bytes) -> tuple[bytes, bool]:
        """The frame that answers a command sent as `text`, and whether the answer is the worker's own."""
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._run(identity, request, text)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _run(self, identity: Identity, request: CommandRequest, text: bytes) -> tuple[bytes, bool]:
        message_id = request.message_id or ""
        try:
            spec = spec_of(request.command)
            check_allowed(identity, spec, request.data)
            reply = read_reply(await self._send(identity, spec, request, text))
        except Rejected as rejected:
            self._metrics.commands.labels(rejected.code).inc()
            return error(rejected, message_id), False
        except TimeoutError:
            self._metrics.commands.labels("timeout").inc()
            return error(Rejected("timeout", "no reply yet; send it again with the same message_id"), message_id), False
        except BusError as fault:
            self._metrics.commands.labels("unavailable").inc()
            hint = "it was not taken" if isinstance(fault, Unavailable) else "it may have been taken"
            return error(
                Rejected("unavailable", f"{hint}: {fault}; send it again with the same message_id"), message_id
            ), False
        if reply.ok:
            self._metrics.commands.labels("ok").inc()
            answer = b'{"type":"response","correlation_id":%b,"result":%b}' % (encode(message_id), bytes(reply.result))
            return text_frame(answer), True
        self._metrics.commands.labels("refused").inc()
        fault_text = bytes(reply.error)
        members = b"," + fault_text[1:] if len(fault_text) > 2 else b"}"
        return text_frame(b'{"type":"error","correlation_id":%b%b' % (encode(message_id), members)), True

    async def _send(self, identity: Identity, spec: CommandSpec, request: CommandRequest, text: bytes) -> bytes:
        body = encode_command(
            spec.name,
            JsonText(slices(text)["data"]),
            message_id=request.message_id or "",
            sender_agent_id=identity.agent_id,
            priority="critical" if request.priority == "urgent" else request.priority,
            correlation_id=request.correlation_id,
            hops=request.hops,
            trust=request.trust,
        )
        headers = {"traceparent": request.traceparent} if request.traceparent else None
        return await self._rpc.request(
            spec, body, message_id=request.message_id or "", wait=WAIT_SECONDS, headers=headers
        )
