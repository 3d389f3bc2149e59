"""The door for hooks of Claude Code: taken as they come, kept, and answered with nothing that could steer it."""

import hashlib
import re
from typing import Any

from services.ingress import outgoing
from services.ingress.access import Access
from services.ingress.bodies import LIMIT, BodyReader
from services.ingress.calls import Call
from services.ingress.commands import sender
from services.ingress.intake import Intake
from services.ingress.problems import Answer
from shared.errors import invalid
from shared.messages import check_json, encode, spec_of
from shared.messages.envelope import delivery_message_id

_SOURCE = "claude_hooks"
# What Claude Code reads as "nothing to say"; any other member could allow, deny or add to what it does.
_NOTHING = Answer(200, b"{}")
_MAX_EVENT = 100
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


class HookDoor:
    """Takes hooks."""

    def __init__(self, access: Access, intake: Intake, bodies: BodyReader) -> None:
        self._access = access
        self._intake = intake
        self._bodies = bodies

    async def on_claude(self, call: Call) -> Answer:
        """`POST /hooks/claude`: `{}` once the hook is kept.

        A hook has no id, so the same bytes again are the same hook, unless an `Idempotency-Key` tells them apart.
        """
        caller = self._access.caller(call.headers)
        caller.require("publish")
        _, body = await self._bodies.read(call.receive, call.headers, LIMIT)
        session_id, event = _outline(body)
        caller.enter(session_id)
        key = (call.text(b"idempotency-key") or "").encode()
        message_id = delivery_message_id(_SOURCE, hashlib.sha256(key + b"\n" + body).hexdigest())
        call.notes.update(caller=caller.name, hook=event, session_id=session_id, message_id=message_id)
        envelope = {
            "message_id": message_id,
            "sender_agent_id": sender(call, caller),
            "trust": "untrusted",
            "caller": caller.name,
        }
        data = encode({"session_id": session_id, "event": event})[:-1] + b',"hook":' + body + b"}"
        message = outgoing.command(spec_of("receive_claude_hook"), envelope, data, call.traceparent)
        await self._intake.keep(await outgoing.pack(message))
        return _NOTHING


def _outline(body: bytes) -> tuple[str, str]:
    """Check a hook; its `session_id` and its `hook_event_name`. Raises `Rejected("invalid")`."""
    document = check_json(body)
    if not isinstance(document, dict):
        raise invalid("the body is an object, as Claude Code sends it to a hook")
    return _word(document, "session_id", 255), _word(document, "hook_event_name", _MAX_EVENT)


def _word(document: dict[str, Any], name: str, longest: int) -> str:
    value = document.get(name)
    if not isinstance(value, str) or len(value) > longest or not _TEXT.fullmatch(value):
        fault = "missing" if name not in document else "not a name"
        raise invalid(
            f"`{name}` is {fault}: 1 to {longest} characters of text, as Claude Code sends it",
            fields=[{"field": name, "fault": fault, "kind": "missing" if fault == "missing" else "id"}],
        )
    return value
