"""The command door: every public command over HTTP, in two forms, waiting for the reply or not."""

import sqlite3
import time
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.ingress import outgoing
from services.ingress.access import Access
from services.ingress.bodies import LIMIT, RECORDS_LIMIT, BodyReader
from services.ingress.callbacks import check_targets, send_callback
from services.ingress.calls import Call
from services.ingress.intake import Intake
from services.ingress.prefer import wait_of
from services.ingress.problems import Answer, from_error
from shared.auth import Caller
from shared.errors import Rejected, invalid
from shared.messages import CommandSpec, check_json, encode, new_id, spec_of
from shared.messages.callbacks import CallbackUrl
from shared.messages.commands import validate_data
from shared.messages.envelope import MAX_HOPS, Id, Priority, Trust, invalid_fields
from shared.messages.json_text import MAX_DEPTH, MAX_WRAPPED_DEPTH, slices
from shared.targets import Allowed

DEFAULT_WAIT_SECONDS = 10.0
MAX_WAIT_SECONDS = 60.0
# What a reply takes beyond the time a command waits by itself.
REPLY_SECONDS = 5.0
# How long a UUIDv7 nobody has recorded may belong to a command that is still on its way, through any ingress.
_ON_ITS_WAY_SECONDS = 600


class CommandForm(BaseModel):
    """The whole message as `POST /api/commands` takes it; its `timestamp` is replaced by the moment it came in."""

    model_config = ConfigDict(strict=True, extra="forbid", title="CommandForm")

    type: Literal["command", "collaborative_session_command"] = "command"
    command: str
    data: dict[str, Any] = {}
    message_id: Id | None = None
    sender_agent_id: Id | None = None
    timestamp: str | None = None
    priority: Annotated[Priority, BeforeValidator(lambda given: "critical" if given == "urgent" else given)] = "normal"
    session_id: Id | None = None
    sidebar_id: Id | None = None
    correlation_id: Id | None = None
    hops: Annotated[int, Field(ge=0)] = 0
    trust: Trust = "trusted"
    wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] | None = None
    callback_url: CallbackUrl | None = None


class Outcome(NamedTuple):
    """What became of a command so far: its result as text, its error, or neither when there is no reply yet."""

    message_id: str
    result: bytes | None = None
    error: dict[str, Any] | None = None


class CommandDoor:
    """Runs commands for callers."""

    def __init__(self, access: Access, intake: Intake, bodies: BodyReader, callbacks: Allowed | None = None) -> None:
        """`callbacks`: which targets callbacks may go to beside the public ones; None: none."""
        self._access = access
        self._intake = intake
        self._bodies = bodies
        self._callbacks = callbacks or Allowed()

    async def on_named(self, call: Call, name: str) -> Answer:
        """`POST /api/commands/{command}`: the body is the command's data."""
        caller = self._access.caller(call.headers)
        spec = public_spec(name)
        caller.require(spec.scope)
        limit = RECORDS_LIMIT if spec.brings_records else LIMIT
        _, body = await self._bodies.read(call.receive, call.headers, limit)
        return await self._run(call, spec, caller, {}, body if body.strip() else b"{}", wait_of(call))

    async def on_form(self, call: Call) -> Answer:
        """`POST /api/commands`: the body is the whole message."""
        caller = self._access.caller(call.headers)
        _, body = await self._bodies.read(call.receive, call.headers, LIMIT)
        return await self.run_form(call, caller, check_json(body), body)

    async def run_form(self, call: Call, caller: Caller, document: Any, body: bytes) -> Answer:
        """Run the command that a checked document, with its text, asks for."""
        if not isinstance(document, dict):
            raise invalid('the body is an object: {"command": …, "data": {…}}')
        try:
            form = CommandForm.model_validate(document)
        except ValidationError as error:
            raise invalid_fields(error, "the command") from None
        spec = public_spec(form.command)
        caller.require(spec.scope)
        if form.hops >= MAX_HOPS:
            raise Rejected("loop", f"refused at {form.hops} hops: commands and events cause each other in a circle")
        envelope = form.model_dump(
            include={
                "message_id",
                "sender_agent_id",
                "priority",
                "session_id",
                "sidebar_id",
                "correlation_id",
                "hops",
                "trust",
                "callback_url",
            },
            exclude_none=True,
        )
        data = slices(body)["data"] if "data" in document else b"{}"
        wait = form.wait_s if form.wait_s is not None else wait_of(call)
        return await self._run(call, spec, caller, envelope, data, wait)

    async def _run(
        self, call: Call, spec: CommandSpec, caller: Caller, envelope: dict[str, Any], data: bytes, wait: float | None
    ) -> Answer:
        return answer(spec, await self.perform(call, spec, caller, data, envelope=envelope, wait=wait), call.trace_id)

    async def perform(
        self,
        call: Call,
        spec: CommandSpec,
        caller: Caller,
        data: bytes,
        *,
        envelope: dict[str, Any] | None = None,
        wait: float | None = None,
    ) -> Outcome:
        """Check a command's data, given as text, and whether the caller may run it, and run it. Raises `Rejected`."""
        # A record stands deeper in its import than in the command that brought it.
        document = check_json(data, MAX_WRAPPED_DEPTH if spec.brings_records else MAX_DEPTH)
        if not isinstance(document, dict):
            raise invalid(f"the data of {spec.name} is an object")
        asked = validate_data(spec, document, data)
        caller.permit(spec, asked)
        check_targets((envelope or {}).get("callback_url"), asked, self._callbacks)
        given = {"sender_agent_id": sender(call, caller), **(envelope or {}), "caller": caller.name}
        if "admin" in caller.scopes:
            given["by_admin"] = True
        key = call.text(b"idempotency-key")
        given["message_id"] = outgoing.check_message_id(given.get("message_id") or key or new_id())
        new_key = self._access.new_key(spec, document, caller, given["message_id"])
        if new_key is not None:
            data = new_key.hashed(document)
        # Some commands wait by themselves; whoever does not say how long he waits would miss their answer.
        usual = max(DEFAULT_WAIT_SECONDS, getattr(asked, "wait_s", 0) + REPLY_SECONDS)
        del document, asked  # not carried through the wait for the reply
        call.notes.update(command=spec.name, message_id=given["message_id"], caller=caller.name)
        call_back = given.pop("callback_url", None) if spec.reads else None
        message = outgoing.command(spec, given, data, call.traceparent)
        patience = min(usual if wait is None else wait, MAX_WAIT_SECONDS)
        if spec.reads:
            # A reading command leaves no trace to ask after, so "don't wait" can't be meant.
            reply: bytes | None = await self._intake.query(spec, message, patience or DEFAULT_WAIT_SECONDS)
        else:
            reply = await self._intake.ask(spec, message, patience)
        outcome = Outcome(message.message_id) if reply is None else read_reply(message.message_id, reply)
        if new_key is not None and outcome.result is not None:
            outcome = outcome._replace(result=new_key.told(outcome.result))
        if call_back is not None:
            owed = send_callback(
                call_back,
                spec.name,
                outcome.message_id,
                result=outcome.result,
                error=outcome.error,
                sender=given["sender_agent_id"],
                call=call,
            )
            await self._intake.keep(await outgoing.pack(owed))
        return outcome

    async def status(self, call: Call, caller: Caller, message_id: str) -> Answer:
        """`GET /api/commands/{message_id}`: what became of a command; `not_found` when nobody knows it.

        Each caller may ask after its own commands; who may read everywhere, after all, but for those whose replies
        hold secrets: these only an admin.
        """
        outgoing.check_message_id(message_id)
        if await self._waits_here(message_id):
            return Answer(200, b'{"status":"pending"}')
        asked = {"message_id": message_id, "asker": caller.name, "admin": "admin" in caller.scopes}
        if caller.sessions is not None or caller.scopes.isdisjoint({"read", "admin"}):
            # A list of sessions says nothing of messages.
            asked["caller"] = caller.name
            caller = replace(caller, sessions=None, scopes=caller.scopes | {"read"})
        try:
            outcome = await self.perform(
                call,
                spec_of("get_command"),
                caller,
                encode(asked),
                envelope={"message_id": new_id()},
                wait=5,
            )
        except Rejected as error:
            if error.code in ("unavailable", "timeout") and self._intake.kept_lately(message_id):
                return Answer(200, b'{"status":"pending"}')
            raise
        if outcome.error is None:
            return Answer(200, outcome.result or b"{}")
        if outcome.error.get("code") == "not_found" and (self._intake.kept_lately(message_id) or _is_fresh(message_id)):
            return Answer(200, b'{"status":"pending"}')
        return from_error(outcome.error, call.trace_id)

    async def _waits_here(self, message_id: str) -> bool:
        try:
            return await self._intake.holds(message_id)
        except sqlite3.Error:
            return False


def public_spec(name: str) -> CommandSpec:
    """The registry's row of a command the doors offer. Raises `Rejected("invalid")` for any other name."""
    spec = spec_of(name)
    if not spec.public:
        raise invalid(f"there is no command {name!r}; /docs lists those there are", command=name)
    return spec


def sender(call: Call, caller: Caller) -> str:
    """Who the command is from: `X-Agent-Id`, else the key's name. Raises `Rejected("invalid")`."""
    named = call.text(b"x-agent-id")
    if named is None:
        return caller.name
    if not 1 <= len(named) <= 255 or any(c < " " or c == "\x7f" for c in named):
        raise invalid("X-Agent-Id is 1 to 255 characters of text", fields=[{"field": "X-Agent-Id", "kind": "id"}])
    return named


def read_reply(message_id: str, reply: bytes) -> Outcome:
    """The outcome a reply `{"ok": …}` tells."""
    parts = slices(reply)
    if parts.get("ok") == b"true":
        return Outcome(message_id, result=parts.get("result", b"{}"))
    return Outcome(message_id, error=orjson.loads(parts.get("error", b"{}")))


def answer(spec: CommandSpec, outcome: Outcome, trace_id: str) -> Answer:
    """The HTTP answer for an outcome: the result as the worker wrote it, a problem, or where to ask later."""
    if outcome.error is not None:
        return from_error(outcome.error, trace_id)
    if outcome.result is not None:
        return Answer(201 if spec.creates else 200, outcome.result)
    return accepted(outcome.message_id)


def accepted(message_id: str) -> Answer:
    """202: the command is kept, its reply is not there yet."""
    location = f"/api/commands/{quote(message_id, safe='')}".encode()
    return Answer(202, encode({"message_id": message_id, "status": "accepted"}), ((b"location", location),))


def _is_fresh(message_id: str) -> bool:
    try:
        identifier = UUID(message_id)
    except ValueError:
        return False
    age = time.time() - (identifier.int >> 80) / 1000
    return identifier.version == 7 and -60 < age < _ON_ITS_WAY_SECONDS
