"""What tells a repeated command from another one under the same id."""

import hashlib

from shared.bus.replies import error_reply
from shared.errors import conflict
from shared.messages import Command
from shared.messages.json_text import same_for_all


def fingerprint(command: Command) -> bytes | None:
    """What tells a repetition from another command under the same id; copies of a webhook always count as one."""
    if command.spec.area == "webhook":
        return None
    content = command.spec.name.encode() + b"\0" + same_for_all(command.data_text)
    return hashlib.blake2b(content, digest_size=16).digest()


def refusal_of_another(command: Command, caller: str | None, known: bytes | None) -> bytes | None:
    """The reply to a command that is another than its id stands for, which has this caller and fingerprint.

    None when it is a repetition. A confidential one is its sender's alone.
    """
    if (known is None or known == fingerprint(command)) and (not command.spec.confidential or caller == command.caller):
        return None
    message_id = command.message_id
    return error_reply(
        conflict(f"message id {message_id!r} was already used for another command", message_id=message_id)
    )
