"""Commands of clients: passed to the workers over the bus, and their replies passed back, both unchanged."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from services.ws_gateway.door.access import Identity
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.requests import CommandRequest
from services.ws_gateway.stream.frames import error, text_frame
from shared.bus.rpc import Rpc
from shared.errors import BusError, Rejected, Unavailable, invalid
from shared.key_making import new_key
from shared.key_ring import KeyRing
from shared.logs import get_logger
from shared.messages import CommandSpec, JsonText, encode, encode_command, new_id, spec_of
from shared.messages.batch import Batch, Part
from shared.messages.commands import validate_data
from shared.messages.envelope import topic_word
from shared.messages.json_text import slices
from shared.reach import AREAS
from shared.telemetry import traceparent_or_new
from shared.topics import Topics

# The longest a command may take by its own wish (`wait_s` of claim_task), and a little more.
WAIT_SECONDS = 35.0

log = get_logger()

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


def check_allowed(identity: Identity, spec: CommandSpec, data: dict[str, Any], text: bytes) -> None:
    """Raises `Rejected` when the token does not allow this command, whose data is given decoded and as text."""
    caller = identity.caller
    if not spec.public:
        raise invalid(f"there is no command {spec.name!r} here", command=spec.name)
    if identity.permission == "observer" and not spec.reads:
        raise Rejected("forbidden", f"an observer may only read; {spec.name} writes", command=spec.name)
    caller.require(spec.scope)
    if caller.sessions is None and identity.topics is None and spec.data is not Batch:
        return
    # The worker will look at the data as well; here only who is bound to something pays for it.
    asked = validate_data(spec, data, text)
    caller.permit(spec, asked)
    if identity.topics is None or identity.hears_sessions:
        return
    parts = asked.parts if isinstance(asked, Batch) else [Part(spec, asked, text)]
    named = [session_id for part in parts for session_id in (_session_of(part), *part.data.read_session_ids)]
    if not all(_in_reach(identity.topics, session_id) for session_id in named):
        raise Rejected(
            "forbidden", "the token is for certain topics: a command must name a session among them", command=spec.name
        )


def _session_of(part: Part) -> str | None:
    session_id: str | None = getattr(part.data, "session_id", None)
    return session_id


def _in_reach(topics: Topics, session_id: str | None) -> bool:
    """Whether a token for these topics may hear everything of a session in one of its areas."""
    return session_id is not None and any(topics.cover(f"{area}.{topic_word(session_id)}.#") for area in AREAS)


def tell_refused(identity: Identity, rejected: Rejected, **about: str | None) -> None:
    """Tell the log of a client that asked for more than it may, as whoever watches over access wants to see."""
    if rejected.code not in ("forbidden", "rate_limited"):
        return
    log.warning(
        "access_refused",
        caller=identity.caller.name,
        agent_id=identity.agent_id,
        error=rejected.code,
        detail=rejected.message,
        **about,
    )


class Commands:
    """Runs the commands of all clients."""

    def __init__(self, rpc: Rpc, metrics: Metrics, ring: KeyRing, secret: str) -> None:
        """`ring`: the keys in force, whose rates count here too; `secret` is what new keys are derived from."""
        self._rpc = rpc
        self._ring = ring
        self._secret = secret
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._metrics = metrics
        # Answers a `get_state` without a session: it is about the gateway. Given who asks and the command's data.
        self.gateway_state: Callable[[Identity, dict[str, Any]], Awaitable[dict[str, Any]]] | None = None

    async def finished(self) -> None:
        """Wait until no command is under way."""
        await self._idle.wait()

    async def run(
        self, identity: Identity, request: CommandRequest, text: bytes, *, address: str
    ) -> tuple[bytes, bool]:
        """The frame that answers a command sent as `text` from an address, and whether it is the worker's own."""
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._run(identity, request, text, address)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _run(self, identity: Identity, request: CommandRequest, text: bytes, address: str) -> tuple[bytes, bool]:
        message_id = request.message_id or ""
        try:
            spec = spec_of(request.command)
            self.count(identity)
            if self.gateway_state and _is_about_gateway(request):
                state = encode(await self.gateway_state(identity, request.data))
                self._metrics.commands.labels("ok").inc()
                return _response(message_id, state), False
            data = bytes(slices(text)["data"])
            check_allowed(identity, spec, request.data, data)
            key = new_key(spec, request.data, secret=self._secret, caller=identity.caller.name, message_id=message_id)
            reply = read_reply(await self._send(identity, spec, request, key.hashed(request.data) if key else data))
        except Rejected as rejected:
            self._metrics.commands.labels(rejected.code).inc()
            tell_refused(identity, rejected, address=address, command=request.command, message_id=message_id)
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
            result = key.told(bytes(reply.result)) if key else bytes(reply.result)
            return _response(message_id, result), True
        self._metrics.commands.labels("refused").inc()
        fault_text = bytes(reply.error)
        members = b"," + fault_text[1:] if len(fault_text) > 2 else b"}"
        return text_frame(b'{"type":"error","correlation_id":%b%b' % (encode(message_id), members)), True

    def count(self, identity: Identity) -> None:
        """Count a command against the rate of the token's key. Raises `Rejected("rate_limited")`."""
        holder = self._ring.named(identity.caller.name)
        if holder is not None:
            holder.count()

    async def query(self, identity: Identity, name: str, data: dict[str, Any]) -> bytes:
        """The text of a reading command's result for a client. Raises `Rejected`, `BusError` or TimeoutError."""
        request = CommandRequest(message_id=new_id(), command=name, data=data)
        reply = read_reply(await self._send(identity, spec_of(name), request, encode(data)))
        if reply.ok:
            return bytes(reply.result)
        fault = msgspec.json.decode(reply.error)
        raise Rejected(fault["code"], fault["message"], **fault.get("details", {}))

    async def _send(self, identity: Identity, spec: CommandSpec, request: CommandRequest, data: bytes) -> bytes:
        body = encode_command(
            spec.name,
            JsonText(data),
            message_id=request.message_id or "",
            sender_agent_id=identity.agent_id,
            priority="critical" if request.priority == "urgent" else request.priority,
            correlation_id=request.correlation_id,
            hops=request.hops,
            trust=request.trust,
            caller=identity.caller.name or None,
            by_admin=identity.is_admin,
        )
        headers = {"traceparent": traceparent_or_new(request.traceparent)}
        return await self._rpc.request(
            spec, body, message_id=request.message_id or "", wait=WAIT_SECONDS, headers=headers
        )


def _is_about_gateway(request: CommandRequest) -> bool:
    return request.command == "get_state" and request.session_id is None and "session_id" not in request.data


def _response(message_id: str, result: bytes) -> bytes:
    return text_frame(b'{"type":"response","correlation_id":%b,"result":%b}' % (encode(message_id), result))
