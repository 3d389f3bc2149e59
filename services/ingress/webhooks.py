"""The webhook door: each source proves itself by its own scheme, and its payload goes on untouched."""

import asyncio
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from services.ingress import campfire, outgoing, signatures
from services.ingress.access import Access, shown_key
from services.ingress.bodies import GITHUB_LIMIT, LIMIT, BodyReader, ClientGone, check_declared
from services.ingress.calls import Call
from services.ingress.chat_doors import ChatDoors, read_form, shown_form
from services.ingress.commands import CommandDoor, accepted, sender
from services.ingress.intake import Intake
from services.ingress.problems import Answer
from services.ingress.sources import Source
from shared.auth import Caller
from shared.bus.bodies import COMPRESS_FROM
from shared.errors import Rejected, invalid
from shared.logs import get_logger
from shared.messages import check_json, encode, new_id, spec_of

_GITHUB_HEADERS = (b"x-github-event", b"x-github-delivery", b"x-hub-signature")
_WORD = re.compile(rb"[\x21-\x7e]{1,255}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
_COMMAND_FORMS = ("collaborative_session_command", "command")
# Campfire gives up after 7 s; the promise is 1 s.
_CAMPFIRE_SECONDS = 0.5

log = get_logger()


class WebhookDoor:
    """Takes webhooks: verify, read, keep, answer."""

    def __init__(
        self,
        sources: dict[str, Source],
        access: Access,
        intake: Intake,
        commands: CommandDoor,
        bodies: BodyReader,
        chats: ChatDoors,
    ) -> None:
        self._sources = sources
        self._access = access
        self._intake = intake
        self._commands = commands
        self._bodies = bodies
        self._chats = chats
        self._late: set[asyncio.Task[Answer]] = set()

    async def on_root(self, call: Call) -> Answer:
        """`POST /webhook`: GitHub when its headers are there, else the API-key door."""
        headers = call.headers
        if b"x-hub-signature-256" in headers or any(name in headers for name in _GITHUB_HEADERS):
            return await self._on_github(call, self._sources["github"])
        return await self._on_api_key(call, self._sources["api"])

    async def on_source(self, call: Call, name: str) -> Answer:
        """`POST /webhook/{source}`. A bad signature never falls back to a key."""
        source = self._sources.get(name)
        if source is None and b"token=" in call.scope["query_string"]:
            # A Campfire whose bot was taken out of switchyard.toml; it would post a problem into the room each time.
            return Answer(204, code="not_found", detail=f"no webhook source is called {name!r}")
        if source is None:
            raise Rejected(
                "not_found", f"no webhook source is called {name!r}; sources stand in switchyard.toml", source=name
            )
        match source.scheme:
            case "github":
                return await self._on_github(call, source)
            case "standard":
                return await self._on_standard(call, source)
            case "hmac":
                return await self._on_hmac(call, source)
            case "campfire":
                return await self._on_campfire(call, source)
            case "api_key":
                return await self._on_api_key(call, source)

    async def _on_github(self, call: Call, source: Source) -> Answer:
        headers = call.headers
        check_declared(headers, GITHUB_LIMIT)
        signature = headers.get(b"x-hub-signature-256")
        if signature is None or call.doubled(b"x-hub-signature-256"):
            # Without one there is nothing to read the body for.
            raise signatures.refused(f"X-Hub-Signature-256 is {'missing' if signature is None else 'there twice'}")
        sent, body = await self._bodies.read(call.receive, headers, GITHUB_LIMIT)
        _over_either(lambda text: signatures.check_github(source.secrets, signature, text), sent, body)
        event = _header_word(call, b"x-github-event")
        delivery_id = _header_word(call, b"x-github-delivery")
        if headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
            body = _form_payload(body)
        action, _ = _outline(body)
        return await self._keep(call, source, event, action, delivery_id, body)

    async def _on_standard(self, call: Call, source: Source) -> Answer:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        shown = {name: call.text(name.encode()) or "" for name in names}
        if any(call.doubled(name.encode()) for name in names):
            raise signatures.refused("a Standard Webhooks header is there twice")
        if missing := [name for name in names if not shown[name]]:
            raise signatures.refused(f"missing: {', '.join(missing)}")
        sent, body = await self._bodies.read(call.receive, call.headers, LIMIT)
        _over_either(lambda text: signatures.check_standard(source.verifiers, shown, text), sent, body)
        action, kind = _outline(body)
        delivery_id = _text(shown["webhook-id"], "webhook-id")
        if source.bot:
            return await self._keep_said(call, source, kind or "message", delivery_id, body)
        return await self._keep(call, source, kind or "message", action, delivery_id, body)

    async def _on_hmac(self, call: Call, source: Source) -> Answer:
        signature = call.headers.get(source.header)
        if call.doubled(source.header):
            raise signatures.refused("the signature header is there twice")
        if signature is None:
            raise signatures.refused(f"{source.header.decode()} is missing")

        def check(text: bytes) -> None:
            signatures.check_hmac(
                source.secrets, signature, text,
                algorithm=source.algorithm, encoding=source.encoding, prefix=source.prefix,
            )  # fmt: skip

        sent, body = await self._bodies.read(call.receive, call.headers, LIMIT)
        _over_either(check, sent, body)
        action, kind = _outline(body)
        named = call.text(source.event_header)
        event = _text(named, source.event_header.decode()) if named else kind or "message"
        delivery = call.text(source.delivery_header) or call.text(b"idempotency-key") or new_id()
        delivery_id = _text(delivery, source.delivery_header.decode())
        if source.bot:
            return await self._keep_said(call, source, event, delivery_id, body)
        return await self._keep(call, source, event, action, delivery_id, body)

    async def _on_api_key(self, call: Call, source: Source) -> Answer:
        caller = self._caller(call, source)
        _, body = await self._bodies.read(call.receive, call.headers, LIMIT)
        action, kind = _outline(body)
        # A source's own secret is good for its webhooks only; commands ask for a key with scopes.
        if caller is not None and source.name == "api":
            if kind in _COMMAND_FORMS:
                return await self._commands.run_form(call, caller, check_json(body), body)
            if kind == "llm_conversation_insight":
                return await self._on_insight(call, caller, check_json(body), body)
        if caller is not None:
            caller.require("publish")
            caller.enter(None)
            call.notes["caller"] = caller.name
        named = call.text(source.event_header)
        event = _text(named, source.event_header.decode()) if named else kind or "message"
        delivery = call.text(b"idempotency-key") or call.text(source.delivery_header) or new_id()
        delivery_id = _text(delivery, "the delivery id")
        if source.bot:
            return await self._keep_said(call, source, event, delivery_id, body, caller)
        return await self._keep(call, source, event, action, delivery_id, body)

    def _caller(self, call: Call, source: Source) -> Caller | None:
        """The key's owner; None when one of the source's own secrets was shown."""
        if source.secrets:
            try:
                signatures.check_token(source.secrets, shown_key(call.headers))
            except Rejected:
                pass  # not one of the source's own; it may be an API key
            else:
                return None
        return self._access.caller(call.headers)

    async def _on_insight(self, call: Call, caller: Caller, document: dict[str, Any], body: bytes) -> Answer:
        caller.require("publish")
        session_id = document.get("session_id")
        data: dict[str, Any] = (
            {"session_id": session_id} if isinstance(session_id, str) and _TEXT.fullmatch(session_id) else {}
        )
        key = call.text(b"idempotency-key") or document.get("message_id")
        message_id = outgoing.check_message_id(key if isinstance(key, str) else new_id())
        call.notes.update(command="record_insight", message_id=message_id, caller=caller.name)
        caller.enter(data.get("session_id"))
        envelope = {
            "message_id": message_id,
            "sender_agent_id": sender(call, caller),
            "trust": "untrusted",
            "caller": caller.name,
        }
        text = encode(data)[:-1] + (b"," if data else b"") + b'"insight":' + body + b"}"
        message = outgoing.command(spec_of("record_insight"), envelope, text, call.traceparent)
        await self._intake.keep(await outgoing.pack(message))
        return accepted(message_id)

    async def _on_campfire(self, call: Call, source: Source) -> Answer:
        """Always 204 and in time, whatever happens: Campfire would post any other answer into the room."""
        work = asyncio.create_task(self._take_campfire(call, source))
        self._late.add(work)
        work.add_done_callback(self._late.discard)
        done, _ = await asyncio.wait({work}, timeout=_CAMPFIRE_SECONDS)
        if done:
            taken = work.result()
            return Answer(204, code=taken.code, detail=taken.detail)
        return Answer(204, code="timeout", detail="answered before the message was kept; it goes on in the background")

    async def _take_campfire(self, call: Call, source: Source) -> Answer:
        try:
            signatures.check_token(source.secrets, signatures.token_of(call.scope["query_string"]))
            _, body = await self._bodies.read(call.receive, call.headers, LIMIT)
            document = check_json(body)
            payload = campfire.without_bot_key(body, document)
            delivery_id = campfire.delivery_id(document) or new_id()
            spoken = self._chats.of_campfire(source, document)
            return await self._keep(call, source, "message", None, _text(delivery_id, "message.id"), payload, spoken)
        except Rejected as error:
            return Answer(204, code=error.code, detail=error.message)
        except ClientGone:
            return Answer(204, code="invalid", detail="the connection was closed before the body was whole")
        except Exception:
            log.exception("campfire_message_failed", source=source.name, trace_id=call.trace_id)
            return Answer(204, code="internal", detail="see the log")

    async def _keep_said(
        self, call: Call, source: Source, event: str, delivery_id: str, body: bytes, caller: Caller | None = None
    ) -> Answer:
        """Keep what a chat server says to a bot, in our own form; `caller`: whose key came with it instead."""
        form = read_form(check_json(body))
        # Its sender's own id of the message tells repetitions better than that of a request.
        delivery_id = form.message_id or delivery_id
        spoken = self._chats.of_form(source, form, delivery_id)._replace(caller=caller.name if caller else None)
        return await self._keep(call, source, event, None, delivery_id, shown_form(form), spoken)

    async def _keep(
        self,
        call: Call,
        source: Source,
        event: str,
        action: str | None,
        delivery_id: str,
        payload: bytes,
        spoken: outgoing.Spoken | None = None,
    ) -> Answer:
        message = outgoing.receive_webhook(source.name, event, action, delivery_id, payload, call.traceparent, spoken)
        call.notes.update(source=source.name, event_name=event, message_id=message.message_id)
        if not source.wants(event, action):
            return Answer(200, b'{"message_id":"%b","status":"ignored"}' % message.message_id.encode())
        await self._intake.keep(message if len(message.body) <= COMPRESS_FROM else await outgoing.pack(message))
        return Answer(202, b'{"message_id":"%b","status":"accepted"}' % message.message_id.encode())


def _over_either(check: Any, sent: bytes, meant: bytes) -> None:
    """Check a signature over what was sent or, when that came compressed, over what it was made from.

    Senders differ in whether they sign before or after compressing; either way the signature vouches for the content.
    """
    try:
        check(sent)
    except Rejected:
        if sent is meant:
            raise
        check(meant)


def _header_word(call: Call, name: bytes) -> str:
    value = call.headers.get(name)
    if value is None or not _WORD.fullmatch(value) or call.doubled(name):
        raise invalid(f"{name.decode()} is missing or malformed", fields=[{"field": name.decode(), "kind": "header"}])
    return value.decode()


def _text(value: str, where: str) -> str:
    if not _TEXT.fullmatch(value):
        raise invalid(f"{where} is 1 to 255 characters of text", fields=[{"field": where, "kind": "id"}])
    return value


def _outline(body: bytes) -> tuple[str | None, str | None]:
    """Check a payload; its `action`, and its `type`, where Standard Webhooks and many others put the event's name.

    The document itself is gone when this returns. Kept until the broker confirms, the documents of all requests under
    way would push each other out of the processor's cache, which costs a fifth of the whole request.
    """
    document = check_json(body)
    if type(document) is not dict:
        return None, None
    action, kind = document.get("action"), document.get("type")
    return (
        action if type(action) is str and len(action) <= 255 else None,
        kind if type(kind) is str and _TEXT.fullmatch(kind) else None,
    )


def _form_payload(body: bytes) -> bytes:
    """The JSON in the field `payload` of a form, which is GitHub's other content type."""
    # `curl -d` calls everything a form; a form never starts with a bracket.
    if body.lstrip().startswith((b"{", b"[")):
        return body
    for part in body.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"payload":
            return unquote_to_bytes(value.replace(b"+", b" "))
    raise invalid("the form has no field `payload`", fields=[{"field": "payload", "kind": "missing"}])
