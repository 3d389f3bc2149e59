"""Signatures after Standard Webhooks (standardwebhooks.com): who receives a callback can tell that it is from us."""

from base64 import b64decode
from binascii import Error as NotBase64
from datetime import UTC, datetime

from standardwebhooks import Webhook

from shared import __version__

PREFIX = "whsec_"
# The specification asks for 24 to 64 bytes.
MIN_BYTES = 24


class Signer:
    """Signs with every secret there is: while one replaces another, receivers may know either."""

    def __init__(self, secrets: str) -> None:
        """`secrets` are `whsec_` and base64 each, with spaces between. Raises ValueError for one that is not."""
        self._webhooks = [Webhook(_checked(secret)) for secret in secrets.split()]

    @property
    def ready(self) -> bool:
        """Whether there is a secret to sign with."""
        return bool(self._webhooks)

    def headers(self, callback_id: str, moment: datetime, body: str) -> dict[str, str]:
        """The headers of a POST of this body, sent at this moment (aware, in UTC)."""
        moment = moment.astimezone(UTC)
        return {
            "User-Agent": f"Switchyard/{__version__}",
            "Content-Type": "application/json",
            "Webhook-Id": callback_id,
            "Webhook-Timestamp": str(int(moment.timestamp())),
            "Webhook-Signature": " ".join(each.sign(callback_id, moment, body) for each in self._webhooks),
        }


def _checked(secret: str) -> str:
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (NotBase64, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) < MIN_BYTES:
        # Without the secret itself: this goes into logs.
        raise ValueError(
            f"SWITCHYARD_CALLBACK_SECRET: each secret is {PREFIX!r} and the base64 of {MIN_BYTES} random bytes or more"
        )
    return secret
