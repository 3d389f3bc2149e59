"""How each kind of sender proves itself; pure functions over bytes, every comparison in constant time.

Sources: GitHub "Validating webhook deliveries"; the Standard Webhooks specification; Campfire sends no signature, its
bot's address carries a secret.
"""

import binascii
import hmac
import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qs

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from shared.errors import Rejected

Algorithm = Literal["sha1", "sha256", "sha512"]
Encoding = Literal["hex", "base64"]

_GITHUB_SIGNATURE = re.compile(rb"sha256=[0-9a-f]{64}")


def refused(message: str) -> Rejected:
    """The sender did not prove itself."""
    return Rejected("unauthorized", message)


def check_github(secrets: Sequence[bytes], signature: bytes | None, body: bytes) -> None:
    """Check `X-Hub-Signature-256` over the raw body against any of the secrets. Raises `Rejected("unauthorized")`."""
    if signature is None:
        raise refused("X-Hub-Signature-256 is missing")
    if not _GITHUB_SIGNATURE.fullmatch(signature):
        raise refused("X-Hub-Signature-256 is malformed: sha256= and 64 hexadecimal digits are expected")
    given = bytes.fromhex(signature[7:].decode())
    matches = [hmac.compare_digest(hmac.digest(secret, body, "sha256"), given) for secret in secrets]
    if not any(matches):
        raise refused("X-Hub-Signature-256 does not match the body")


def check_hmac(
    secrets: Sequence[bytes],
    signature: bytes | None,
    body: bytes,
    *,
    algorithm: Algorithm = "sha256",
    encoding: Encoding = "hex",
    prefix: bytes = b"",
) -> None:
    """Check a plain HMAC of the body, written as `prefix` and hex or base64 text. Raises `Rejected("unauthorized")`."""
    if signature is None:
        raise refused("the signature header is missing")
    if not signature.startswith(prefix):
        raise refused("the signature header is malformed")
    text = signature[len(prefix) :]
    try:
        given = bytes.fromhex(text.decode()) if encoding == "hex" else binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeDecodeError are kinds of it
        raise refused("the signature header is malformed") from None
    matches = [hmac.compare_digest(hmac.digest(secret, body, algorithm), given) for secret in secrets]
    if not any(matches):
        raise refused("the signature does not match the body")


def check_standard(webhooks: Sequence[Webhook], headers: dict[str, str], body: bytes) -> None:
    """Check `webhook-id`, `-timestamp` (± 5 min) and `-signature`. Raises `Rejected("unauthorized")`, nothing else."""
    reason = "the Standard Webhooks signature does not match"
    for webhook in webhooks:
        try:
            webhook.verify(body, headers, json_parse=False)
        except WebhookVerificationError as error:
            reason = str(error) or reason
        except ValueError:  # malformed text, base64 or UTF-8: the library lets those out
            reason = "the Standard Webhooks headers are malformed"
        else:
            return
    raise refused(reason)


def token_of(query: bytes) -> bytes | None:
    """The one `token` of a query string, whatever its bytes are; None when there is none, or more than one."""
    try:
        tokens = parse_qs(query.decode("latin-1"), max_num_fields=20, encoding="latin-1").get("token", [])
    except ValueError:  # too many fields
        return None
    return tokens[0].encode("latin-1") if len(tokens) == 1 else None


def check_token(secrets: Sequence[bytes], token: bytes | None) -> None:
    """Compare a secret that is shown as it is. Raises `Rejected("unauthorized")`."""
    if token is None:
        raise refused("the token is missing")
    matches = [hmac.compare_digest(secret, token) for secret in secrets]
    if not any(matches):
        raise refused("the token is wrong")
