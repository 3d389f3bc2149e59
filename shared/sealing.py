"""What passes through the bus and must not be read there, sealed: by the door that knows it, for who needs it.

AES-256-GCM under a key that HKDF makes of SWITCHYARD_SECRET, another one for each purpose. A sealed text opens only
together with what it was sealed for, so that it can't be moved elsewhere.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import SwitchyardError

# The purpose: where the answer to what somebody said in a room goes.
REPLY_TO = "chat reply_to"
# What stands before one that leads to a callback: its sender is told of every end, not of answers alone.
CALLBACK = "callback:"
# What a sealed text begins with: another way of sealing will have another.
_MARK = "s1."
_NONCE_BYTES = 12


class NotSealedHere(SwitchyardError):
    """A text was not sealed with this secret for this purpose and thing, or was changed since."""


class Seal:
    """Seals and opens texts of one purpose."""

    def __init__(self, secret: str, purpose: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"switchyard\n{purpose}".encode())
        self._cipher = AESGCM(key.derive(secret.encode()))

    def close(self, text: str, about: str) -> str:
        """The text, sealed for a thing: letters, digits, `-`, `_` and dots; another one each time."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), about.encode(errors="replace"))
        return _MARK + urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, sealed: str, about: str) -> str:
        """The text that was sealed for this thing. Raises `NotSealedHere`."""
        try:
            if not sealed.startswith(_MARK):
                raise ValueError
            body = sealed.removeprefix(_MARK).encode()
            data = urlsafe_b64decode(body + b"=" * (-len(body) % 4))
            nonce, box = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, box, about.encode(errors="replace")).decode()
        except (ValueError, InvalidTag):
            raise NotSealedHere("it was not sealed with this SWITCHYARD_SECRET for this, or was changed") from None


def reply_about(room_id: str, bot_id: str) -> str:
    """What `reply_to` is sealed for: this room and bot alone."""
    return f"{room_id}\n{bot_id}"
