"""The callback of a command that was given up: its sender is told that it failed; pure."""

import zlib
from uuid import UUID, uuid5

from pydantic import ValidationError

from services.session_worker.dead_letters import Arrival
from services.session_worker.store.dead_letters import KeptLetter
from shared.bus.bodies import MAX_BODY
from shared.errors import Rejected
from shared.messages import check_json, encode_command, rfc3339
from shared.messages.commands import CommandEnvelope
from shared.messages.json_text import MAX_WRAPPED_DEPTH

_IDS = UUID("0f6a0b0e-54e0-5f0b-8a4e-6b1d3a0c9d11")


def callback_of(arrival: Arrival, kept: KeptLetter) -> tuple[str, bytes] | None:
    """The command that owes the callback, with its message id; None when the letter asks for none.

    The id is the same for every delivery of a letter, so that nobody is told twice.
    """
    if b"callback_url" not in (body := _plain(arrival)):
        return None
    try:
        envelope = CommandEnvelope.model_validate(check_json(body, MAX_WRAPPED_DEPTH))
    except (Rejected, ValidationError):
        return None  # whoever can't write a command gets no other answer either
    if envelope.callback_url is None:
        return None
    message_id = str(uuid5(_IDS, f"{kept.id} {rfc3339(kept.created)}"))
    error = {"code": "internal", "message": f"given up: {kept.reason}", "details": {"dead_letter_id": kept.id}}
    data = {
        "url": envelope.callback_url,
        "message_id": envelope.message_id,
        "command": envelope.command or "(none)",
        "error": error,
    }
    return message_id, encode_command("send_callback", data, message_id=message_id, sender_agent_id="session_worker")


def _plain(arrival: Arrival) -> bytes:
    if arrival.content_encoding != "gzip":
        return arrival.body
    try:
        return zlib.decompressobj(wbits=31).decompress(arrival.body, MAX_BODY)
    except zlib.error:
        return b""
