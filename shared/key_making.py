"""What a door does for `create_key`: it makes the secret, sends its hash on, and puts the secret into the reply.

So the secret is in no message, log or table. It is derived, not drawn, so that the same command again, which gives the
same reply, gives the same secret too, and one whose reply was lost is not.
"""

from dataclasses import dataclass, field
from typing import Any

from shared.auth import derive_key, hash_key
from shared.messages.access import CreateKey
from shared.messages.commands import CommandSpec
from shared.messages.json_text import JsonText, encode, slices


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key about to be made."""

    secret: str = field(repr=False)

    def hashed(self, document: dict[str, Any]) -> bytes:
        """The command's data as it goes on: with the secret's hash."""
        return encode({**document, "key_hash": hash_key(self.secret).hex()})

    def told(self, result: bytes) -> bytes:
        """The command's result, given as text, with the secret."""
        members: dict[str, Any] = {name: JsonText(value) for name, value in slices(result).items()}
        return encode({**members, "secret": self.secret})


def new_key(spec: CommandSpec, document: dict[str, Any], *, secret: str, caller: str, message_id: str) -> NewKey | None:
    """The key that this command, with its data, asks the door to make.

    None for every other command, and where the caller made a key and gives its hash.
    """
    if spec.data is not CreateKey or document.get("key_hash") is not None:
        return None
    return NewKey(derive_key(secret, caller, message_id))
