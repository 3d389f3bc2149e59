"""How senders prove themselves."""

import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from services.ingress.signatures import check_github, check_hmac, check_standard, check_token
from shared.errors import Rejected

# https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
SECRET = b"It's a Secret to Everybody"
BODY = b"Hello, World!"
SIGNATURE = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def refuses(check, *arguments, **options) -> str:
    with pytest.raises(Rejected) as refusal:
        check(*arguments, **options)
    assert refusal.value.code == "unauthorized"
    return refusal.value.message


def test_githubs_own_example_is_accepted() -> None:
    check_github([SECRET], SIGNATURE, BODY)


def test_an_old_secret_is_good_as_long_as_it_is_listed() -> None:
    check_github([b"new", SECRET], SIGNATURE, BODY)
    refuses(check_github, [b"new"], SIGNATURE, BODY)


def test_without_a_secret_nothing_is_accepted() -> None:
    refuses(check_github, [], SIGNATURE, BODY)
    refuses(check_github, [], b"sha256=" + hmac.new(b"", BODY, "sha256").hexdigest().encode(), BODY)


@pytest.mark.parametrize(
    "signature",
    [
        None,
        b"",
        b"sha256=",
        SIGNATURE[7:],
        SIGNATURE.upper(),
        SIGNATURE[:-1],
        SIGNATURE + b"0",
        SIGNATURE + b"," + SIGNATURE,
        SIGNATURE + b"\n",
        b" " + SIGNATURE,
        b"sha1=" + b"0" * 40,
        b"sha256=" + b"\xff" * 64,
        b"sha256=" + "\N{DEVANAGARI DIGIT ZERO}".encode() * 64,
    ],
)
def test_a_missing_or_malformed_signature_is_refused(signature: bytes | None) -> None:
    refuses(check_github, [SECRET], signature, BODY)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_one_byte_changed_is_refused(body: bytes, data: st.DataObject) -> None:
    signature = b"sha256=" + hmac.new(SECRET, body, "sha256").hexdigest().encode()
    check_github([SECRET], signature, body)
    at = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[at] ^= data.draw(st.integers(1, 255))
    refuses(check_github, [SECRET], signature, bytes(changed))


@given(st.integers(7, 70), st.integers(1, 255))
def test_any_byte_of_the_signature_changed_is_refused(at: int, flip: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[at] ^= flip
    refuses(check_github, [SECRET], bytes(changed), BODY)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_nothing_that_is_sent_raises_anything_but_a_refusal(signature: bytes, body: bytes) -> None:
    refuses(check_github, [SECRET], signature, body)
    refuses(check_hmac, [SECRET], signature, body)
    refuses(check_hmac, [SECRET], signature, body, encoding="base64")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_plain_hmac_may_be_hex_or_base64_with_a_prefix(algorithm) -> None:
    digest = hmac.new(SECRET, BODY, algorithm).digest()
    check_hmac([SECRET], digest.hex().encode(), BODY, algorithm=algorithm)
    check_hmac([SECRET], b"v1=" + digest.hex().encode(), BODY, algorithm=algorithm, prefix=b"v1=")
    check_hmac([SECRET], base64.b64encode(digest), BODY, algorithm=algorithm, encoding="base64")
    refuses(check_hmac, [SECRET], digest.hex().encode(), BODY + b"!", algorithm=algorithm)
    refuses(check_hmac, [SECRET], digest.hex().encode(), BODY, algorithm=algorithm, prefix=b"v1=")


def standard_headers(body: bytes, *, moment: float | None = None, secret: str = STANDARD) -> dict[str, str]:
    at = datetime.fromtimestamp(moment or time.time(), UTC)
    signature = Webhook(secret).sign("msg_1", at, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def test_a_standard_webhook_is_accepted_within_five_minutes() -> None:
    check_standard([Webhook(STANDARD)], standard_headers(BODY), BODY)
    check_standard([Webhook(STANDARD)], standard_headers(BODY, moment=time.time() - 290), BODY)
    for late in (-310, 310):
        refuses(check_standard, [Webhook(STANDARD)], standard_headers(BODY, moment=time.time() + late), BODY)


def test_a_standard_webhook_with_another_body_or_secret_is_refused() -> None:
    headers = standard_headers(BODY)
    refuses(check_standard, [Webhook(STANDARD)], headers, BODY + b"!")
    refuses(check_standard, [Webhook("whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=")], headers, BODY)
    refuses(check_standard, [], headers, BODY)
    check_standard([Webhook("whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI="), Webhook(STANDARD)], headers, BODY)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-signature": "v1,not base64!"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-timestamp": ""},
        {"webhook-id": ""},
    ],
)
def test_malformed_standard_webhook_headers_are_refused_and_nothing_worse(changed: dict[str, str]) -> None:
    refuses(check_standard, [Webhook(STANDARD)], standard_headers(BODY) | changed, BODY)


def test_a_standard_webhook_that_is_not_utf8_is_refused() -> None:
    refuses(check_standard, [Webhook(STANDARD)], standard_headers(BODY), b"\xff\xfe")


def test_a_token_is_compared_whole() -> None:
    check_token([b"new", b"old"], b"old")
    for wrong in (None, b"", b"ol", b"oldd"):
        refuses(check_token, [b"new", b"old"], wrong)
    refuses(check_token, [], b"")
