"""Callbacks at the door: which targets are refused, and how the reply of a reading command is sent to one."""

from typing import Any

from services.ingress import outgoing
from services.ingress.calls import Call
from shared.errors import Rejected
from shared.messages import JsonText, encode, new_id, spec_of
from shared.messages.batch import Batch, refused_at
from shared.messages.commands import CommandData
from shared.targets import Allowed, target_of


def check_targets(url: str | None, asked: CommandData, allowed: Allowed) -> None:
    """Raise `Rejected("invalid")` for a target, of a command or of its parts, that is bad by its URL alone."""
    for each in (url, getattr(asked, "callback_url", None)):
        if each is not None:
            target_of(each, allowed)
    if isinstance(asked, Batch):
        for index, part in enumerate(asked.parts):
            try:
                check_targets(None, part.data, allowed)
            except Rejected as refusal:
                raise refused_at(index, part.spec.name, refusal) from None


def send_callback(
    url: str, command: str, message_id: str, *, result: bytes | None, error: Any, sender: str, call: Call
) -> outgoing.Outgoing:
    """The command that has a reading command's reply sent to a URL: no transaction of its own could owe it."""
    reply = {"error": error} if error is not None else {"result": JsonText(result or b"{}")}
    data = encode({"url": url, "message_id": message_id, "command": command, **reply})
    envelope = {"message_id": new_id(), "sender_agent_id": sender}
    return outgoing.command(spec_of("send_callback"), envelope, data, call.traceparent)
